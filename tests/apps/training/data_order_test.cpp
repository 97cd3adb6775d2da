#include "apps/training/data_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tensor/error.h"

namespace tw {
namespace {

// Twelve images without pixels in three classes of 8, 3 and 1, and a fourth class that nothing belongs to.
class Labels : public Dataset {
 public:
  int64_t size() const override { return 12; }
  int64_t height() const override { return 1; }
  int64_t width() const override { return 1; }
  int64_t channels() const override { return 1; }
  int bit_depth() const override { return 8; }
  const std::vector<std::string>& class_names() const override { return names; }
  void read(int64_t, float*) const override {}
  std::string name(int64_t index) const override { return std::to_string(index); }
  int label(int64_t index) const override { return index < 8 ? 0 : index < 11 ? 1 : 3; }
  std::vector<std::string> names{"many", "few", "none", "one"};
};

TEST(DataOrder, EveryEpochShowsEveryImageOnceInAnotherOrder) {
  DataOrder order(all_images(50), 7);
  std::vector<std::vector<int64_t>> epochs(2);
  for (int64_t position = 0; position < 100; ++position)
    epochs[static_cast<size_t>(position / 50)].push_back(order.at(position));
  EXPECT_NE(epochs[0], epochs[1]);
  for (auto& epoch : epochs) {
    std::sort(epoch.begin(), epoch.end());
    EXPECT_EQ(epoch, all_images(50)[0]);
  }
}

TEST(DataOrder, IsAFunctionOfThePositionAlone) {
  DataOrder forward(images_by_class(Labels()), 3), backward(images_by_class(Labels()), 3);
  std::vector<int64_t> there, back;
  for (int64_t position = 0; position < 60; ++position) there.push_back(forward.at(position));
  for (int64_t position = 59; position >= 0; --position) back.push_back(backward.at(position));
  std::reverse(back.begin(), back.end());
  EXPECT_EQ(there, back);
}

TEST(DataOrder, BalancedClassesTakeTurnsAndLoseNoImage) {
  const Labels data;
  DataOrder order(images_by_class(data), 3);
  std::map<int, std::multiset<int64_t>> seen;
  for (int64_t position = 0; position < 72; ++position) {
    const int64_t image = order.at(position);
    seen[data.label(image)].insert(image);
  }
  ASSERT_EQ(seen.size(), 3u);
  for (int label : {0, 1, 3}) EXPECT_EQ(seen[label].size(), 24u);
  for (int64_t image = 0; image < 8; ++image) EXPECT_EQ(seen[0].count(image), 3u);
  for (int64_t image = 8; image < 11; ++image) EXPECT_EQ(seen[1].count(image), 8u);
}

TEST(DataOrder, NothingToBalanceIsAnError) {
  Labels data;
  data.names.clear();
  EXPECT_THROW((void)images_by_class(data), Error);
  EXPECT_THROW((void)all_images(0), Error);
}

}  // namespace
}  // namespace tw
