# packages: ruby
# Trees, locks, a transaction store, copies.
set -e
ruby -rfileutils -rtempfile -rpstore -e 'FileUtils.mkdir_p("a/b"); File.write("a/b/c","x"*10); FileUtils.cp_r("a","z"); puts Dir.glob("**/*").sort; s=PStore.new("p"); s.transaction{s[:a]=1}; puts s.transaction(true){s[:a]}; File.open("l","w"){|f| puts f.flock(File::LOCK_EX)}; Tempfile.create("t",".") {|t| t.puts 1; puts t.size}; IO.copy_stream("a/b/c","cc"); puts File.size("cc"); puts IO.popen("cat cc").read'
