# make install and make package: the one program, its manual pages and completions. Files that only a Debian package has
# (changelog, overrides) are put in by scripts/package.
include(GNUInstallDirs)
install(TARGETS fusewire RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT fusewire)
file(GLOB manual_pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/*.1)
install(FILES ${manual_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT fusewire)
install(FILES completions/fusewire.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME fusewire
        COMPONENT fusewire)
install(FILES completions/_fusewire DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions COMPONENT fusewire)
install(FILES completions/fusewire.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT fusewire)
