#include "apps/data/dataset.h"

#include <zlib.h>

#include <random>

#include "apps/image/png.h"
#include "tensor/io/npy.h"
#include "tests/apps/image/test_image.h"
#include "tests/shared_folder.h"

namespace tw {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<float> pixels_of(const Dataset& data, int64_t index) {
  std::vector<float> hwc(static_cast<size_t>(data.height() * data.width() * data.channels()));
  data.read(index, hwc.data());
  return hwc;
}

void write_image(const std::string& path, const Image& image) { write_bytes(path, encode_png(image)); }

TEST(FolderData, SubFoldersAreClassesAndTheOrderIsThatOfThePaths) {
  const TemporaryFolder folder;
  for (const char* name : {"dog/2.png", "cat/b.png", "cat/a.png", "cat/more/c.png", "dog/10.png"})
    write_image(folder / name, test_image(4, 6, 3));
  write_bytes(folder / "cat/readme.txt", "not an image");
  write_bytes(folder / ".hidden/x.png", "not looked at");
  const auto data = open_dataset("folder:" + folder.str());
  ASSERT_EQ(data->size(), 5);
  EXPECT_THAT(data->class_names(), ElementsAre("cat", "dog"));
  EXPECT_EQ(data->height(), 4);
  EXPECT_EQ(data->width(), 6);
  EXPECT_EQ(data->channels(), 3);
  std::vector<int> labels;
  for (int64_t i = 0; i < 5; ++i) labels.push_back(data->label(i));
  EXPECT_THAT(labels, ElementsAre(0, 0, 0, 1, 1));
  EXPECT_THAT(data->name(1), HasSubstr("cat/b.png"));
  EXPECT_THAT(data->name(3), HasSubstr("dog/10.png"));
  EXPECT_EQ(pixels_of(*data, 0), to_float(test_image(4, 6, 3)));
  EXPECT_THROW(data->label(5), Error);
}

TEST(FolderData, KeepsSixteenBitGrey) {
  const TemporaryFolder folder;
  const Image image = test_image(5, 5, 1, 16);
  write_image(folder / "a.png", image);
  const auto data = open_dataset("folder:" + folder.str());
  EXPECT_EQ(data->bit_depth(), 16);
  EXPECT_EQ(data->channels(), 1);
  EXPECT_EQ(data->classes(), 0);
  const std::vector<float> values = pixels_of(*data, 0);
  EXPECT_EQ(from_float(values.data(), 5, 5, 1, 16).pixels, image.pixels);
}

TEST(FolderData, MixedImagesAreAnErrorThatNamesTwoFilesAndFitWithAResolution) {
  const TemporaryFolder folder;
  write_image(folder / "a.png", test_image(8, 8, 1));
  write_image(folder / "b.png", test_image(8, 10, 1));
  EXPECT_THAT(data_error([&] { open_dataset("folder:" + folder.str()); }),
              AllOf(HasSubstr("b.png: is 8 x 10"), HasSubstr("a.png is 8 x 8"), HasSubstr("--resolution")));
  write_image(folder / "b.png", test_image(8, 8, 3, 16));
  EXPECT_THAT(data_error([&] { open_dataset("folder:" + folder.str()); }),
              AllOf(HasSubstr("b.png: is RGB of 16 bits"), HasSubstr("a.png is grey of 8 bits")));
  write_image(folder / "b.png", test_image(8, 12, 3, 16));
  const auto data = open_dataset("folder:" + folder.str(), {.resolution = 4});
  EXPECT_EQ(data->height(), 4);
  EXPECT_EQ(data->width(), 4);
  EXPECT_EQ(data->channels(), 3);
  EXPECT_EQ(data->bit_depth(), 16);
  const std::vector<float> grey = pixels_of(*data, 0);
  for (size_t i = 0; i < grey.size(); i += 3) EXPECT_EQ(grey[i], grey[i + 2]);
}

TEST(FolderData, ACorruptImageAmongManyIsAWarningOrWithStrictAnError) {
  const TemporaryFolder folder;
  for (int i = 0; i < 20; ++i) write_image(folder / (std::to_string(10 + i) + ".png"), test_image(4, 4, 1));
  const std::string bytes = encode_png(test_image(4, 4, 1));
  write_bytes(folder / "15.png", bytes.substr(0, bytes.size() / 2));
  std::vector<std::string> warnings;
  const auto warn = [&](const std::string& message) { warnings.push_back(message); };
  const auto data = open_dataset("folder:" + folder.str(), {.warn = warn});
  EXPECT_EQ(data->size(), 19);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("15.png"));
  EXPECT_THAT(data_error([&] { open_dataset("folder:" + folder.str(), {.strict = true, .warn = warn}); }),
              HasSubstr("15.png"));
}

TEST(FolderData, MissingEmptyAndUselessFolders) {
  const TemporaryFolder folder;
  const auto quiet = [](const std::string&) {};
  EXPECT_THAT(data_error([&] { open_dataset("folder:" + (folder / "none")); }), HasSubstr("no such folder"));
  EXPECT_THAT(data_error([&] { open_dataset("folder:" + folder.str()); }), HasSubstr("holds no .png"));
  write_bytes(folder / "a.png", "damaged");
  EXPECT_THAT(data_error([&] { open_dataset("folder:" + folder.str(), {.warn = quiet}); }),
              AllOf(HasSubstr("none of its 1"), HasSubstr("a.png")));
  EXPECT_THAT(data_error([&] { open_dataset("folder:" + (folder / "a.png")); }),
              HasSubstr("is not a folder"));
}

std::string idx_bytes(std::initializer_list<uint32_t> extents, const std::string& content) {
  std::string bytes{0, 0, 8, static_cast<char>(extents.size())};
  for (uint32_t extent : extents)
    for (int shift : {24, 16, 8, 0}) bytes += static_cast<char>(extent >> shift);
  return bytes + content;
}

std::string gzipped(const std::string& content) {
  const TemporaryFolder folder;
  gzFile file = gzopen((folder / "x.gz").c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
  std::ifstream in(folder / "x.gz", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(IdxData, ReadsImagesWithLabelsBesideThemGzippedOrNot) {
  const std::string images =
      idx_bytes({2, 2, 3}, std::string("\x00\x01\x02\x03\x04\x05\xff\xfe\xfd\xfc\xfb\xfa", 12));
  const std::string labels = idx_bytes({2}, "\x03\x01");
  const std::string image_gz = gzipped(images), label_gz = gzipped(labels);
  const TemporaryFolder folder;
  write_bytes(folder / "t-images-idx3-ubyte.gz", image_gz);
  write_bytes(folder / "t-labels-idx1-ubyte.gz", label_gz);
  write_bytes(folder / "u-images.idx3-ubyte", images);
  write_bytes(folder / "u-labels.idx1-ubyte", labels);
  for (const char* name : {"t-images-idx3-ubyte.gz", "u-images.idx3-ubyte"}) {
    const auto data = open_dataset("idx:" + (folder / name));
    ASSERT_EQ(data->size(), 2);
    EXPECT_EQ(data->height(), 2);
    EXPECT_EQ(data->width(), 3);
    EXPECT_EQ(data->channels(), 1);
    EXPECT_EQ(data->classes(), 4);
    EXPECT_EQ(data->label(0), 3);
    EXPECT_EQ(data->label(1), 1);
    EXPECT_EQ(pixels_of(*data, 1)[0], 1.0f);
    EXPECT_FLOAT_EQ(pixels_of(*data, 0)[5], 2 * 5 / 255.0f - 1);
  }
  write_bytes(folder / "only-images-idx3-ubyte", images);
  EXPECT_EQ(open_dataset("idx:" + (folder / "only-images-idx3-ubyte"))->classes(), 0);
}

TEST(IdxData, DamagedFilesAreErrors) {
  const std::string good = idx_bytes({2, 2, 2}, "abcdefgh"), gz = gzipped(good);
  const TemporaryFolder folder;
  const std::string path = folder / "a-images-idx3-ubyte";
  const auto message = [&](const std::string& bytes) {
    write_bytes(path, bytes);
    return data_error([&] { open_dataset("idx:" + path); });
  };
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_THAT(message(good.substr(0, size)), HasSubstr(path)) << size;
  for (size_t size = 0; size < gz.size(); ++size)
    EXPECT_THAT(message(gz.substr(0, size)), HasSubstr(path)) << size;
  EXPECT_THAT(message(good + "x"), HasSubstr("goes on after the 8 elements"));
  EXPECT_THAT(message(idx_bytes({0xffffffff, 0xffffffff, 2}, "ab")), HasSubstr("2^40"));
  EXPECT_THAT(message(idx_bytes({1u << 30, 16, 16}, "ab")),
              HasSubstr("promises 274877906944 elements, found 2"));
  EXPECT_THAT(message(idx_bytes({0, 2, 2}, "")), HasSubstr("extent 0 is zero"));
  EXPECT_THAT(message(idx_bytes({4, 2}, "abcdefgh")), HasSubstr("2 dimensions"));
  EXPECT_THAT(message(std::string("\0\0\x0d\3", 4) + good.substr(4)), HasSubstr("type 13"));
  std::mt19937 random(1);
  for (int trial = 0; trial < 300;
       ++trial) {  // the gzip checksum or the format notices, or nothing was changed
    std::string damaged = gz;
    damaged[random() % gz.size()] ^= static_cast<char>(1 << (random() % 8));
    write_bytes(path, damaged);
    try {
      open_dataset("idx:" + path);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
    }
  }
  write_bytes(path, good);
  write_bytes(folder / "a-labels-idx1-ubyte", idx_bytes({3}, "abc"));
  EXPECT_THAT(data_error([&] { open_dataset("idx:" + path); }), HasSubstr("3 labels for the 2 images"));
}

TEST(TilesData, CutsSheetsRowByRowWithClassesFromTheNames) {
  const TemporaryFolder folder;
  const Image sheet = test_image(4, 6, 3);
  write_image(folder / "train_1_dog.png", sheet);
  write_image(folder / "train_0_cat.png", sheet);
  write_bytes(folder / "train_1_dog.txt", "a.png\nb.png\nc.png\nd.png\n");
  const auto data = open_dataset("tiles:" + folder.str() + ",2");
  ASSERT_EQ(data->size(), 6 + 4);
  EXPECT_THAT(data->class_names(), ElementsAre("cat", "dog"));
  EXPECT_EQ(data->label(5), 0);
  EXPECT_EQ(data->label(6), 1);
  EXPECT_THAT(data->name(9), HasSubstr("[d.png]"));
  const std::vector<float> tile = pixels_of(*data, 4), whole = to_float(sheet);  // row 1, column 1
  for (size_t y = 0; y < 2; ++y)
    for (size_t k = 0; k < 6; ++k) EXPECT_EQ(tile[y * 6 + k], whole[(2 + y) * 18 + 6 + k]);
  EXPECT_THAT(data_error([&] { open_dataset("tiles:" + folder.str() + ",4"); }), HasSubstr("4 x 4 tiles"));
  EXPECT_THROW(open_dataset("tiles:" + folder.str()), Error);
}

TEST(NpyData, ReadsBytesAndFloats) {
  const TemporaryFolder folder;
  save_npy(folder / "u.npy", Tensor::from(std::vector<uint8_t>{0, 255, 7, 9, 1, 2, 3, 4}, {2, 2, 2}));
  const auto bytes = open_dataset("npy:" + (folder / "u.npy"));
  EXPECT_EQ(bytes->size(), 2);
  EXPECT_EQ(bytes->bit_depth(), 8);
  EXPECT_EQ(pixels_of(*bytes, 0)[1], 1.0f);
  save_npy(folder / "f.npy", Tensor::from(std::vector<float>{-1, 1, 0.25f}, {1, 1, 1, 3}));
  const auto floats = open_dataset("npy:" + (folder / "f.npy"));
  EXPECT_EQ(floats->channels(), 3);
  EXPECT_EQ(floats->bit_depth(), 16);
  EXPECT_NEAR(pixels_of(*floats, 0)[2], 0.25f, 1.0f / 65535);
  save_npy(folder / "g.npy", Tensor::from(std::vector<float>{0, 255}, {1, 1, 2}));
  EXPECT_THAT(data_error([&] { open_dataset("npy:" + (folder / "g.npy")); }), HasSubstr("255"));
  save_npy(folder / "r.npy", Tensor::from(std::vector<float>{0, 1}, {2}));
  EXPECT_THAT(data_error([&] { open_dataset("npy:" + (folder / "r.npy")); }),
              HasSubstr("has the shape (2,)"));
}

TEST(OpenDataset, UnknownKindsSayWhatIsExpected) {
  for (const char* spec : {"emojis", "folder", "folder:", "tiles:x", "tiles:x,0", "", "emoji:cars"}) {
    try {
      open_dataset(spec);
      ADD_FAILURE() << spec;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
      EXPECT_THAT(error.what(), HasSubstr("--data"));
    }
  }
}

TEST(RealData, Cifar10Sheets) {
  const std::string folder = shared_folder("data/cifar10");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not here";
  const auto data = open_dataset("tiles:" + folder + ",32");
  EXPECT_EQ(data->size(), 10000);
  EXPECT_EQ(data->classes(), 10);
  EXPECT_EQ(data->class_names()[3], "cat");
  EXPECT_EQ(data->label(3500), 3);
}

TEST(RealData, MnistTestSet) {
  const std::string folder = shared_folder("data/mnist");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not here";
  const auto data = open_dataset("idx:" + folder + "/t10k-images-idx3-ubyte.gz", {.resolution = 32});
  EXPECT_EQ(data->size(), 10000);
  EXPECT_EQ(data->classes(), 10);
  EXPECT_EQ(data->label(0), 7);  // the first test digit is a seven
  EXPECT_EQ(data->height(), 32);
}

TEST(RealData, PhotographsOfMixedSizesAndKinds) {
  const std::string folder = shared_folder("data/natural");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not here";
  EXPECT_THAT(data_error([&] { open_dataset("folder:" + folder); }), HasSubstr("--resolution"));
  const auto data = open_dataset("folder:" + folder, {.resolution = 64});
  EXPECT_EQ(data->size(), 116);
  EXPECT_EQ(data->channels(), 3);
}

}  // namespace
}  // namespace tw
