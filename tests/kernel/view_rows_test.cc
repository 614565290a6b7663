// The fast walk over a view, against rows that the half's writer wrote: what it answers, and that a writer who stands
// between any two of its stores, or died there, never makes it answer what was never true.
#include "abi/view.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernel/view_rows.h"

namespace fusewire::abi {
namespace {

constexpr uint32_t a_directory = 0040755, a_file = 0100644, a_link = 0120777;
constexpr uint64_t for_ever = UINT64_MAX;

// Words that one thread writes and reads. It knows every store, and can do something before a load.
class Words {
 public:
  struct Store {
    uint64_t offset, word;
  };

  explicit Words(size_t bytes = 192 << 10) : words(bytes / 8) {}
  uint64_t bytes() const { return words.size() * 8; }
  bool back(uint64_t offset, uint64_t length) { return offset + length <= limit; }
  uint64_t word(uint64_t offset) const {
    if (before_load) before_load();
    loads++;
    return words.at(offset / 8 + (offset % 8 != 0 ? SIZE_MAX / 2 : 0));
  }
  uint64_t acquire(uint64_t offset) const { return word(offset); }
  void store(uint64_t offset, uint64_t word) {
    words.at(offset / 8) = word;
    log.push_back({offset, word});
  }
  void release(uint64_t offset, uint64_t word) { store(offset, word); }
  void apply(const Store& each) { words.at(each.offset / 8) = each.word; }

  std::vector<uint64_t> words;
  std::vector<Store> log;
  uint64_t limit = UINT64_MAX;
  mutable uint64_t loads = 0;
  mutable std::function<void()> before_load;
};

ViewInode inode_row(uint32_t mode, uint64_t number) {
  ViewInode row{};
  row.valid_until = for_ever;
  row.mode = mode, row.ino = number, row.nlink = 1;
  row.size = row.blocks = number;
  row.mtime = static_cast<int64_t>(number);
  row.uid = 1000, row.gid = 100;
  return row;
}

ViewName name_row(uint64_t parent, uint64_t child, uint64_t valid_until = for_ever, uint32_t epoch = 0,
                  uint8_t flags = 0) {
  ViewName row{};
  row.parent = parent, row.child = child, row.valid_until = valid_until, row.epoch = epoch, row.flags = flags;
  return row;
}

// What a walk said: a miss, an absence, or the file's number, which stands in several of its words.
struct Answer {
  ViewAnswer is = ViewAnswer::miss;
  uint64_t number = 0;
  bool operator==(const Answer&) const = default;
};
constexpr Answer miss{}, absent{ViewAnswer::absent, 0};
constexpr Answer file(uint64_t number) { return {ViewAnswer::found, number}; }

constexpr uint64_t torn = UINT64_MAX;

template <class Memory>
Answer walk(const Memory& memory, std::string_view path, bool follow = true, uint64_t now = 1000,
            ViewCaller caller = {1000, 100}) {
  ViewWalk look(memory, caller, [now] { return now; });
  ViewStart start;
  ViewInode row{};
  if (!look.usable() || look.start_of(0, start) != ViewAnswer::found) return miss;
  const ViewAnswer answer = look.walk(start, path, follow, row);
  if (answer != ViewAnswer::found) return {answer, 0};
  const bool whole = row.size == row.ino && row.blocks == row.ino && row.mtime == static_cast<int64_t>(row.ino);
  return file(whole ? row.ino : torn);
}

// A small tree: /d/f is 3, /d/<long name> is 4, /d/link is 5, /d/gone is known not to be there, /e is 6.
class ViewTest : public ::testing::Test {
 protected:
  static inline const std::string long_name = std::string(100, 'n');

  ViewTest() {
    EXPECT_TRUE(rows.format(11, 22));
    root = rows.add_inode(inode_row(a_directory, 1), {});
    show_root(0);
    directory = rows.add_inode(inode_row(a_directory, 2), {});
    d = add(root, "d", directory);
    f = add(directory, "f", the_file = rows.add_inode(inode_row(a_file, 3), {}));
    add(directory, long_name, rows.add_inode(inode_row(a_file, 4), {}));
    add(directory, "link", link = rows.add_inode(inode_row(a_link, 5), "where/it/leads"));
    add(directory, "gone", 0);
    other_directory = rows.add_inode(inode_row(a_directory, 6), {});
    add(root, "e", other_directory);
  }
  void show_root(uint32_t flags) {
    rows.set_mounts([&](size_t i) { return i == 0 ? ViewMount{root, 0, flags} : ViewMount{}; });
  }
  uint32_t add(uint64_t parent, std::string_view name, uint64_t child, uint64_t valid_until = for_ever) {
    return rows.add_name(name_row(parent, child, valid_until), name);
  }
  Answer at(std::string_view path, bool follow = true) { return walk(words, path, follow); }

  // Runs a change and looks from every state that it goes through, and while it goes on between any two loads: each
  // answer is that of before, that of after, or a miss.
  void expect_never_a_mixture(const std::vector<std::string>& paths, const std::function<void()>& change,
                              size_t stride = 1) {
    const std::vector<uint64_t> before = words.words;
    words.log.clear();
    change();
    const std::vector<Words::Store> stores = words.log;
    ASSERT_FALSE(stores.empty());
    for (const std::string& path : paths) {
      const Answer now = at(path, false);
      Words seen;
      seen.words = before;
      const Answer then = walk(seen, path, false);
      const auto check = [&](const Answer& answer, size_t done, uint64_t load) {
        ASSERT_TRUE(answer == then || answer == now || answer == miss)
            << path << ": " << static_cast<int>(answer.is) << " " << answer.number << " after " << done << " of "
            << stores.size() << " stores, from load " << load << " on";
      };
      for (size_t done = 0; done <= stores.size(); done++) {
        if (done > 0) seen.apply(stores[done - 1]);
        check(walk(seen, path, false), done, 0);
      }
      // The walk stands before one of its loads, and so much of the change happens.
      seen.words = before;
      seen.loads = 0;
      walk(seen, path, false);
      const uint64_t loads = seen.loads + 40;
      for (uint64_t load = 0; load < loads; load++) {
        for (size_t from = 0; from <= stores.size(); from += 3 * stride) {
          for (size_t to = from; to <= stores.size(); to += 2 * stride) {
            seen.words = before;
            for (size_t i = 0; i < from; i++) seen.apply(stores[i]);
            uint64_t count = 0;
            seen.before_load = [&] {
              if (count++ != load) return;
              for (size_t i = from; i < to; i++) seen.apply(stores[i]);
            };
            const Answer answer = walk(seen, path, false);
            seen.before_load = nullptr;
            check(answer, to, load);
          }
        }
      }
    }
  }

  Words words;
  kernel::ViewRows<Words> rows{words};
  uint64_t root = 0, directory = 0, other_directory = 0, the_file = 0, link = 0;
  uint32_t d = 0, f = 0;
};

TEST_F(ViewTest, finds_what_paths_name) {
  EXPECT_EQ(at(""), file(1));
  EXPECT_EQ(at("d"), file(2));
  EXPECT_EQ(at("d/"), file(2));
  EXPECT_EQ(at("d/f"), file(3));
  EXPECT_EQ(at("d//./f"), file(3));
  EXPECT_EQ(at("d/."), file(2));
  EXPECT_EQ(at("d/" + long_name), file(4));
  EXPECT_EQ(at("d/gone"), absent);
  EXPECT_EQ(at("d/gone/further"), absent);
  EXPECT_EQ(at("d/link", false), file(5));
}

TEST_F(ViewTest, what_is_not_certain_is_a_miss) {
  EXPECT_EQ(at("nothing known"), miss);
  EXPECT_EQ(at("d/.."), miss);
  EXPECT_EQ(at("d/../d/f"), miss);
  EXPECT_EQ(at("d/link"), miss) << "a symlink to be followed";
  EXPECT_EQ(at("d/link/", false), miss);
  EXPECT_EQ(at("d/link/x", false), miss);
  EXPECT_EQ(at("d/f/"), miss) << "ENOTDIR";
  EXPECT_EQ(at("d/f/x"), miss);
  EXPECT_EQ(at(std::string(300, 'a')), miss);
  EXPECT_EQ(at(std::string(5000, '/')), miss) << "ENAMETOOLONG";
}

TEST_F(ViewTest, a_name_of_every_length_is_found) {
  for (size_t length = 1; length <= ViewName::text_max; length++) {
    const std::string name(length, static_cast<char>('a' + length % 26));
    ASSERT_NE(add(root, name, rows.add_inode(inode_row(a_file, 1000 + length), {})), 0u);
  }
  for (size_t length = 1; length <= ViewName::text_max; length++)
    EXPECT_EQ(at(std::string(length, static_cast<char>('a' + length % 26))), file(1000 + length));
}

TEST_F(ViewTest, names_end_with_their_time) {
  add(root, "short", the_file, 1000);
  EXPECT_EQ(at("short"), file(3));
  EXPECT_EQ(walk(words, "short", true, 1001), miss);
  add(root, "absent for a while", 0, 1000);
  EXPECT_EQ(at("absent for a while"), absent);
  EXPECT_EQ(walk(words, "absent for a while", true, 1001), miss);
}

TEST_F(ViewTest, rows_of_another_epoch_are_misses) {
  rows.set_epoch(1);
  EXPECT_EQ(at("d/f"), miss);
  EXPECT_EQ(at("d/gone"), miss);
  rows.change_name(d, name_row(root, directory, for_ever, 1));
  EXPECT_EQ(at("d"), file(2));
}

TEST_F(ViewTest, where_something_is_mounted_the_walk_ends) {
  rows.change_name(d, name_row(root, directory, for_ever, 0, view_name::mounted_on));
  EXPECT_EQ(at("d"), miss);
  EXPECT_EQ(at("d/f"), miss);
}

TEST_F(ViewTest, bad_dead_and_counted_inodes_are_misses) {
  for (const uint32_t flag : {view_inode::bad, view_inode::dead}) {
    ViewInode row = inode_row(a_directory, 2);
    row.flags = flag;
    rows.write_inode(directory, row, {});
    EXPECT_EQ(at("d/f"), miss);
  }
  rows.write_inode(directory, inode_row(a_directory, 2), {});
  ViewInode row = inode_row(a_file, 3);
  row.flags = view_inode::counts;
  rows.write_inode(the_file, row, {});
  EXPECT_EQ(at("d/f"), miss) << "READDIRPLUS made it, and its first use is to be noted (K192)";
}

TEST_F(ViewTest, one_use_of_what_a_readdirplus_brought_stands_for_all) {
  ViewInode row = inode_row(a_file, 3);
  row.flags = view_inode::counts;
  rows.write_inode(the_file, row, {});
  ViewInode parent = inode_row(a_directory, 2);
  parent.flags = view_inode::advised;
  rows.write_inode(directory, parent, {});
  EXPECT_EQ(at("d/f"), file(3)) << "the directory's next READDIR is a READDIRPLUS already";
}

TEST_F(ViewTest, an_ended_view_says_nothing) {
  rows.set_flags(view_flag::ended);
  EXPECT_EQ(at("d/f"), miss);
}

TEST_F(ViewTest, a_row_that_serves_another_file_does_not_answer_for_the_first) {
  const uint64_t old = the_file;
  rows.drop_inode(the_file);
  const uint64_t reused = rows.add_inode(inode_row(a_file, 99), {});
  ASSERT_EQ(view_cell_of(reused), view_cell_of(old));
  EXPECT_EQ(at("d/f"), miss);
}

TEST_F(ViewTest, names_are_found_while_the_index_grows) {
  constexpr uint64_t count = 3000;
  Words large(4 << 20);
  kernel::ViewRows<Words> many(large);
  ASSERT_TRUE(many.format(1, 2));
  const uint64_t top = many.add_inode(inode_row(a_directory, 1), {});
  many.set_mounts([&](size_t i) { return i == 0 ? ViewMount{top, 0, 0} : ViewMount{}; });
  uint64_t lost = 0;
  for (uint64_t i = 0; i < count; i++) {
    const uint64_t inode = many.add_inode(inode_row(a_file, i), {});
    ASSERT_NE(many.add_name(name_row(top, inode), "name " + std::to_string(i)), 0u);
    for (uint64_t old = 0; old <= i; old += 97) lost += walk(large, "name " + std::to_string(old)) != file(old);
  }
  EXPECT_EQ(lost, 0u);
  EXPECT_LE(many.used_bytes() / count, 256u) << "bytes of a name and its inode";
}

TEST_F(ViewTest, without_memory_names_are_not_published) {
  words.limit = rows.used_bytes();
  uint64_t last = 0;
  for (uint64_t i = 0; i < 200; i++) {
    const uint64_t inode = rows.add_inode(inode_row(a_file, i), {});
    if (inode == 0) break;
    last = i;
    add(root, "n" + std::to_string(i), inode);
  }
  EXPECT_LT(last, 199u);
  EXPECT_EQ(at("d/f"), file(3));
  EXPECT_EQ(at("n0"), file(0));
}

// --- permissions

TEST_F(ViewTest, the_mode_decides_with_default_permissions) {
  rows.set_flags(view_flag::default_permissions);
  EXPECT_EQ(at("d/f"), file(3));
  const auto walk_as = [&](uint32_t uid, uint32_t gid) { return walk(words, "d/f", true, 1000, {uid, gid}); };
  rows.write_inode(directory, inode_row(0040700, 2), {});
  EXPECT_EQ(walk_as(1000, 100), file(3));
  EXPECT_EQ(walk_as(1001, 100), miss);
  rows.write_inode(directory, inode_row(0040050, 2), {});
  EXPECT_EQ(walk_as(1000, 100), miss) << "the owner has what the owner has";
  EXPECT_EQ(walk_as(1001, 100), file(3));
  EXPECT_EQ(walk_as(1001, 101), miss) << "he may be in the group by a supplementary one: the half knows";
  rows.write_inode(directory, inode_row(0040005, 2), {});
  EXPECT_EQ(walk_as(1001, 101), miss);
  rows.set_flags(0);
  EXPECT_EQ(walk_as(1001, 101), file(3)) << "the daemon decides, and has";
}

TEST_F(ViewTest, a_directory_whose_owner_is_doubtful_is_a_miss_where_the_mode_decides) {
  for (const uint32_t bit : {view_bits::statx_mode, view_bits::statx_uid, view_bits::statx_gid}) {
    ViewInode row = inode_row(a_directory, 2);
    row.doubtful = bit;
    rows.write_inode(directory, row, {});
    rows.set_flags(view_flag::default_permissions);
    EXPECT_EQ(at("d/f"), miss);
    rows.set_flags(0);
    EXPECT_EQ(at("d/f"), file(3));
  }
}

class ViewRowTest : public ViewTest {
 protected:
  static uint64_t now() { return 1000; }
  bool allows(const ViewInode& row, uint32_t mask, uint32_t mount_flags = 0) {
    return ViewWalk(words, {1000, 100}, now).allows(row, mask, mount_flags);
  }
  bool shows(const ViewInode& row, uint32_t mask, bool exact = false, bool may_be_old = false) {
    return ViewWalk(words, {1000, 100}, now).shows(row, mask, exact, may_be_old);
  }
};

TEST_F(ViewRowTest, access_is_certain_only_where_the_daemon_need_not_be_asked) {
  const ViewInode row = inode_row(a_file, 3);
  EXPECT_FALSE(allows(row, 0));
  rows.set_flags(view_flag::no_access);
  EXPECT_TRUE(allows(row, 0));
  EXPECT_TRUE(allows(row, view_bits::may_read | view_bits::may_write));
  rows.set_flags(view_flag::default_permissions);
  EXPECT_TRUE(allows(row, view_bits::may_read | view_bits::may_write));
  EXPECT_FALSE(allows(row, view_bits::may_exec));
}

TEST_F(ViewRowTest, access_to_write_is_a_miss_where_nothing_may_be_written) {
  const ViewInode row = inode_row(0100777, 3);
  rows.set_flags(view_flag::no_access | view_flag::read_only);
  EXPECT_FALSE(allows(row, view_bits::may_write));
  EXPECT_TRUE(allows(row, view_bits::may_read));
  rows.set_flags(view_flag::no_access);
  EXPECT_FALSE(allows(row, view_bits::may_write, mount_flag::read_only));
  EXPECT_FALSE(allows(row, view_bits::may_exec, mount_flag::noexec));
  EXPECT_TRUE(allows(row, view_bits::may_exec));
}

TEST_F(ViewRowTest, stat_shows_what_is_neither_doubtful_nor_old) {
  constexpr uint32_t size = 0x200, basic = view_bits::statx_basic_stats;
  ViewInode row = inode_row(a_file, 3);
  EXPECT_TRUE(shows(row, basic));
  row.doubtful = size;
  EXPECT_FALSE(shows(row, basic));
  EXPECT_TRUE(shows(row, basic & ~size));
  EXPECT_TRUE(shows(row, basic, true, true)) << "AT_STATX_DONT_SYNC";
  row.doubtful = 0;
  row.valid_until = 999;
  EXPECT_FALSE(shows(row, basic));
  EXPECT_TRUE(shows(row, 0));
  row.valid_until = 0;
  EXPECT_FALSE(shows(row, basic)) << "a timeout of none";
}

TEST_F(ViewRowTest, btime_is_asked_unless_the_daemon_knows_no_statx) {
  ViewInode row = inode_row(a_file, 3);
  row.doubtful = view_bits::statx_btime;
  EXPECT_FALSE(shows(row, view_bits::statx_basic_stats | view_bits::statx_btime, true));
  rows.set_flags(view_flag::no_statx);
  EXPECT_TRUE(shows(row, view_bits::statx_basic_stats | view_bits::statx_btime, true));
  row.flags = view_inode::has_btime;
  EXPECT_FALSE(shows(row, view_bits::statx_basic_stats, true)) << "statx would tell of it";
  EXPECT_TRUE(shows(row, view_bits::statx_basic_stats, false));
}

TEST_F(ViewRowTest, texts_of_links_are_read_whole_or_not) {
  const auto text = [&](std::string_view path) {
    ViewWalk look(words, {1000, 100}, now);
    ViewStart start;
    ViewInode row{};
    char to[view_chunk_bytes];
    look.start_of(0, start);
    if (look.walk(start, path, false, row) != ViewAnswer::found) return std::string("a miss");
    return std::string(to, look.read_link(row, to));
  };
  EXPECT_EQ(text("d/link"), "where/it/leads");
  EXPECT_EQ(text("d/f"), "");
  for (const size_t length : {1, 8, 63, 64, 65, 255, 256}) {
    const std::string target(length, 't');
    rows.write_inode(link, inode_row(a_link, 5), target);
    EXPECT_EQ(text("d/link"), target);
  }
  rows.write_inode(link, inode_row(a_link, 5), std::string(257, 't'));
  EXPECT_EQ(text("d/link"), "") << "too long to be published";
  rows.write_inode(link, inode_row(a_link, 5), {});
  EXPECT_EQ(text("d/link"), "");
}

// --- changes under the reader

TEST_F(ViewTest, a_change_of_attributes_is_seen_whole_or_not) {
  expect_never_a_mixture({"d/f"}, [&] { rows.write_inode(the_file, inode_row(a_file, 33), {}); });
}

TEST_F(ViewTest, a_rename_is_seen_whole_or_not) {
  expect_never_a_mixture({"d/f", "e/g"}, [&] {
    rows.drop_name(f, "f");
    add(other_directory, "g", the_file);
  });
}

TEST_F(ViewTest, a_name_that_comes_back_as_another_is_never_mixed) {
  const uint64_t second = rows.add_inode(inode_row(a_file, 7), {});
  expect_never_a_mixture({"d/f", "d/h"}, [&] {
    rows.drop_name(f, "f");
    add(directory, "h", second);
    rows.drop_inode(the_file);
    add(directory, "f", rows.add_inode(inode_row(a_file, 8), {}));
  });
}

TEST_F(ViewTest, long_names_that_share_a_chunk_one_after_the_other_are_never_mixed) {
  const std::string first = std::string(90, 'x') + "1", second = std::string(90, 'x') + "2";
  const uint32_t cell = add(root, first, the_file);
  expect_never_a_mixture({first, second}, [&] {
    rows.drop_name(cell, first);
    add(root, second, other_directory);
  });
}

TEST_F(ViewTest, the_growth_of_the_index_hides_nothing_for_long_and_shows_nothing_wrong) {
  for (int i = 0; rows.names() < (9u << view_index_bits_min); i++) add(directory, "n" + std::to_string(i), 0);
  expect_never_a_mixture(
      {"d/f", "d/n5"},
      [&] {
        for (int i = 0; i < 2; i++) add(other_directory, "m" + std::to_string(i), 0);
      },
      5);
}

// --- hostile memory

// Bounds are checked by Words itself, which throws; the loads of one walk have an end.
void expect_bounded(const Words& memory, std::mt19937_64& random) {
  static const char* const paths[] = {"d/f", "d/link", "e", "", "d/gone/x/y/z/.//", "a/b/c/d/e/f/g"};
  constexpr uint64_t loads_max = 200'000;
  memory.loads = 0;
  ASSERT_NO_THROW(walk(memory, paths[random() % std::size(paths)], random() % 2 == 0));
  ASSERT_LT(memory.loads, loads_max);
  ViewWalk look(memory, {0, 0}, [] { return uint64_t{1}; });
  ViewInode row{};
  __builtin_memcpy(&row, &memory.words[random() % (memory.words.size() - 16)], sizeof row);
  char text[view_chunk_bytes];
  ASSERT_NO_THROW(look.read_link(row, text));
  ASSERT_NO_THROW(look.walk({random(), 0}, "d/f", true, row));
}

TEST_F(ViewTest, memory_of_noise_never_leads_out_of_it) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 300; round++) {
    Words noise(4096 * (1 + random() % 32));
    for (uint64_t& word : noise.words) word = random() >> random() % 64;
    noise.words[0] = view_magic;
    noise.words[offsetof(ViewHeader, flags) / 8] = 0;
    expect_bounded(noise, random);
  }
}

TEST_F(ViewTest, rows_with_some_words_changed_never_lead_out_of_the_memory) {
  std::mt19937_64 random(2);
  const std::vector<uint64_t> good = words.words;
  const size_t used = rows.used_bytes() / 8;
  for (int round = 0; round < 20'000; round++) {
    words.words = good;
    for (uint64_t n = 1 + random() % 4; n > 0; n--) {
      uint64_t& word = words.words[1 + random() % (used - 1)];
      word = random() % 2 ? random() : word ^ uint64_t { 1 } << random() % 64;
    }
    expect_bounded(words, random);
  }
}

// All entries of the index lead to one row, whose child is itself.
TEST_F(ViewTest, rows_that_lead_in_a_circle_end) {
  const uint32_t cell = add(directory, "self", directory);
  ASSERT_NE(cell, 0u);
  std::string path = "d";
  for (int i = 0; i < 700; i++) path += "/self";
  EXPECT_EQ(at(path), file(2));
  words.loads = 0;
  for (uint64_t& word : words.words)
    if ((word & (view_cells_max - 1)) == cell) word = word | uint64_t{cell} << 32;
  at(path);
  EXPECT_LT(words.loads, 2'000'000u);
}

// --- a storm: real threads

class SharedWords {
 public:
  explicit SharedWords(size_t bytes) : words_(bytes / 8) {}
  uint64_t bytes() const { return words_.size() * 8; }
  bool back(uint64_t, uint64_t) { return true; }
  uint64_t word(uint64_t offset) const { return __atomic_load_n(&words_[offset / 8], __ATOMIC_RELAXED); }
  uint64_t acquire(uint64_t offset) const { return __atomic_load_n(&words_[offset / 8], __ATOMIC_ACQUIRE); }
  void store(uint64_t offset, uint64_t word) { __atomic_store_n(&words_[offset / 8], word, __ATOMIC_RELAXED); }
  void release(uint64_t offset, uint64_t word) { __atomic_store_n(&words_[offset / 8], word, __ATOMIC_RELEASE); }

 private:
  std::vector<uint64_t> words_;
};

// Eight directories, each with names of which every one belongs to a number: name k in whichever directory is always a
// file whose number is k modulo names_of_all, by rows that are dropped and used again at once. Directories are renamed.
TEST(ViewStorm, eight_walkers_never_see_a_file_under_another_name) {
  constexpr uint64_t directories = 8, names_of_all = 64, changes = 60'000, walkers = 8;
  SharedWords memory(8 << 20);
  kernel::ViewRows<SharedWords> rows(memory);
  ASSERT_TRUE(rows.format(5, 6));
  const auto directory_row = [](uint64_t n) { return inode_row(a_directory, n); };
  const uint64_t root = rows.add_inode(directory_row(1), {});
  rows.set_mounts([&](size_t i) { return i == 0 ? ViewMount{root, 0, 0} : ViewMount{}; });
  const auto name_of = [](uint64_t k) {
    return k % 3 == 0 ? std::string(40, 'l') + std::to_string(k) : std::to_string(k);
  };

  struct Place {
    uint64_t inode = 0;
    uint32_t cell = 0;
  };
  std::vector<Place> tops(directories), files(names_of_all);
  std::vector<uint64_t> shown_as(directories), holder(names_of_all);
  for (uint64_t i = 0; i < directories; i++) {
    tops[i].inode = rows.add_inode(directory_row(1), {});
    tops[i].cell = rows.add_name(name_row(root, tops[i].inode), "d" + std::to_string(i));
    shown_as[i] = i;
  }
  std::atomic<bool> over{false};
  std::atomic<uint64_t> wrong{0}, hits{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < walkers; t++) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      while (!over.load(std::memory_order_relaxed)) {
        const uint64_t k = random() % names_of_all;
        const Answer answer = walk(memory, "d" + std::to_string(random() % directories) + "/" + name_of(k));
        if (answer.is != ViewAnswer::found) continue;
        hits.fetch_add(1, std::memory_order_relaxed);
        if (answer.number % names_of_all != k) wrong.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  std::mt19937_64 random(99);
  for (uint64_t n = 0; n < changes || (hits.load() < 1000 && n < 100 * changes); n++) {
    const uint64_t k = random() % names_of_all;
    if (random() % 8 == 0) {  // two directories change their names
      const uint64_t a = random() % directories, b = random() % directories;
      if (a == b) continue;
      for (const uint64_t i : {a, b}) rows.drop_name(tops[i].cell, "d" + std::to_string(shown_as[i]));
      std::swap(shown_as[a], shown_as[b]);
      for (const uint64_t i : {a, b})
        tops[i].cell = rows.add_name(name_row(root, tops[i].inode), "d" + std::to_string(shown_as[i]));
      continue;
    }
    Place& place = files[k];
    if (place.cell != 0) rows.drop_name(place.cell, name_of(k));
    if (place.inode != 0 && random() % 2 == 0) rows.drop_inode(std::exchange(place.inode, 0));
    const ViewInode row = inode_row(a_file, random() % 1000 * names_of_all + k);
    if (place.inode == 0)
      place.inode = rows.add_inode(row, {});
    else
      rows.write_inode(place.inode, row, {});
    place.cell = rows.add_name(name_row(tops[random() % directories].inode, place.inode), name_of(k));
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0u);
  EXPECT_GE(hits.load(), 1000u);
}

}  // namespace
}  // namespace fusewire::abi
