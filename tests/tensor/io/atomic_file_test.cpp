#include "tensor/io/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "tensor/io/safetensors.h"
#include "tests/tensor/io/hostile_file.h"

namespace tw {
namespace {

namespace fs = std::filesystem;

size_t files_in(const TemporaryFolder& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator{}));
}

TEST(AtomicFile, AppearsOnCommitOnly) {
  TemporaryFolder folder;
  const std::string path = folder.path("a.txt");
  {
    AtomicFile file(path);
    file.write("hello ");
    file.write("world");
    EXPECT_EQ(file.position(), 11u);
    EXPECT_FALSE(fs::exists(path));
    file.commit();
    EXPECT_EQ(read_bytes(path), "hello world");
    EXPECT_THROW(file.commit(), Error);
    EXPECT_THROW(file.write("more"), Error);
  }
  EXPECT_EQ(files_in(folder), 1u);
}

TEST(AtomicFile, AbandonedLeavesTheOldFile) {
  TemporaryFolder folder;
  write_bytes(folder.path("a.txt"), "old");
  {
    AtomicFile file(folder.path("a.txt"));
    file.write("new");
  }
  EXPECT_EQ(read_bytes(folder.path("a.txt")), "old");
  EXPECT_EQ(files_in(folder), 1u);
}

TEST(AtomicFile, FollowsLinksAndKeepsPermissions) {
  TemporaryFolder folder;
  write_bytes(folder.path("real"), "old");
  fs::permissions(folder.path("real"), fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("real", folder.path("link"));
  write_file_atomically(folder.path("link"), "new");
  EXPECT_TRUE(fs::is_symlink(folder.path("link")));
  EXPECT_EQ(read_bytes(folder.path("real")), "new");
  EXPECT_EQ(fs::status(folder.path("real")).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST(AtomicFile, NamesWhatCannotBeWritten) {
  TemporaryFolder folder;
  expect_data_error([&] { write_file_atomically(folder.path("no/such/a"), "x"); }, folder.path("no/such/a"),
                    "No such file");
  expect_data_error([&] { write_file_atomically(folder.path(), "x"); }, folder.path(), "it is a folder");
  fs::create_directory(folder.path("sealed"));
  write_bytes(folder.path("sealed/a"), "old");
  fs::permissions(folder.path("sealed"), fs::perms::owner_read | fs::perms::owner_exec);
  if (::geteuid() != 0)  // root may write anyway
    expect_data_error([&] { write_file_atomically(folder.path("sealed/a"), "x"); }, folder.path("sealed/a"),
                      "Permission denied");
  fs::permissions(folder.path("sealed"), fs::perms::owner_all);
  EXPECT_EQ(files_in(folder), 1u);
}

TEST(AtomicFile, FullDeviceIsAnErrorAndStaysADevice) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  expect_data_error([] { write_file_atomically("/dev/full", "x"); }, "/dev/full", "No space left");
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

// A disk that fills up half-way, played by the limit on the size of a file.
TEST(AtomicFile, FullDiskKeepsTheOldFile) {
  TemporaryFolder folder;
  const std::string path = folder.path("model.safetensors");
  save_safetensors(path, {{"a", Tensor::full({10}, 1)}});
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 100'000;
  setrlimit(RLIMIT_FSIZE, &small);
  expect_data_error(
      [&] {
        save_safetensors(path, {{"a", Tensor::full({100'000}, 2)}});
      },
      path, "byte 100000");
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(load_safetensors(path).at("a").to_vector(), std::vector<double>(10, 1));
  EXPECT_EQ(files_in(folder), 1u);
}

}  // namespace
}  // namespace tw
