# The flags of code that runs without libc, exceptions, RTTI and thread-local storage (docs/architecture.md, D1).
set(FUSEWIRE_FREESTANDING_FLAGS
    -ffreestanding -nostdlib -fno-exceptions -fno-rtti -fno-stack-protector -fno-threadsafe-statics
    -fno-asynchronous-unwind-tables -fcf-protection=none -fno-pic -fno-pie -O2)

# fusewire_room(name DEPENDS lib...): the library of one room of the house, all its .cc files, hosted flags.
function(fusewire_room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  if(sources)
    add_library(fusewire_${name} STATIC ${sources})
    target_link_libraries(fusewire_${name} PUBLIC fusewire_hosted_flags ${ROOM_DEPENDS})
  else()
    add_library(fusewire_${name} INTERFACE)
    target_link_libraries(fusewire_${name} INTERFACE fusewire_hosted_flags ${ROOM_DEPENDS})
  endif()
endfunction()
