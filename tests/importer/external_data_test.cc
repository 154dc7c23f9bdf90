#include "importer/external_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "importer/load_model.h"
#include "tests/importer/model_bytes.h"

namespace reusescope {
namespace {

using ::testing::HasSubstr;
using ::testing::Optional;

// A folder of the running test's own, with `inside/` for a model and a secret beside it.
class ExternalDataTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = absl::StrCat(::testing::TempDir(), "/reusescope_external_", getpid(), "_", test->name());
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(folder() + "/sub");
    WriteFile(folder() + "/weights.bin", "0123456789");
    WriteFile(root_ + "/secret.bin", "secret");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::string folder() const { return root_ + "/inside"; }
  std::string ErrorOf(const ExternalRange& range, int64_t bytes) const {
    const auto data = ExternalData(folder()).Read(range, bytes);
    if (data.ok()) return data->has_value() ? "ok: " + **data : "absent";
    EXPECT_EQ(data.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(data.status().message());
  }

  std::string root_;
};

TEST_F(ExternalDataTest, ReadsTheRangeThatIsAskedFor) {
  EXPECT_EQ(ErrorOf({"weights.bin", 2, 3}, 3), "ok: 234");
  EXPECT_EQ(ErrorOf({"./sub/../weights.bin", 2, 3}, 3),
            "found external data at './sub/../weights.bin', expected a relative path inside the model's folder");
  EXPECT_EQ(ErrorOf({"./weights.bin", 8, std::nullopt}, 2), "ok: 89");
}

TEST_F(ExternalDataTest, FilesNeedNotExist) {
  EXPECT_EQ(ErrorOf({"nowhere.bin", 0, 4}, 4), "absent");
  EXPECT_EQ(*ExternalData("").Read({"weights.bin", 0, 4}, 4), std::nullopt);
}

TEST_F(ExternalDataTest, RefusesLocationsThatLeaveTheFolder) {
  for (const char* location : {"", "/etc/passwd", "../secret.bin", "sub/../../secret.bin", "..", "C:\\secret.bin",
                               "\\secret.bin", "sub\\..\\..\\secret.bin"}) {
    EXPECT_THAT(ErrorOf({location, 0, 6}, 6), HasSubstr("expected a relative path inside the model's folder"))
        << location;
  }
  EXPECT_THAT(ErrorOf({std::string("a\0b", 3), 0, 6}, 6), HasSubstr("expected a relative path"));
}

TEST_F(ExternalDataTest, RefusesLinksThatLeadOut) {
  std::filesystem::create_symlink("../secret.bin", folder() + "/link.bin");
  std::filesystem::create_directory_symlink("..", folder() + "/up");
  std::filesystem::create_symlink("weights.bin", folder() + "/good.bin");
  EXPECT_THAT(ErrorOf({"link.bin", 0, 6}, 6), HasSubstr("a link out of the model's folder"));
  EXPECT_THAT(ErrorOf({"up/secret.bin", 0, 6}, 6), HasSubstr("a link out of the model's folder"));
  EXPECT_EQ(ErrorOf({"good.bin", 0, 3}, 3), "ok: 012");
}

TEST_F(ExternalDataTest, RefusesRangesBeyondTheFile) {
  EXPECT_EQ(ErrorOf({"weights.bin", 8, 4}, 4),
            "found external data file 'weights.bin' of 10 bytes, expected 4 at byte 8");
  EXPECT_THAT(ErrorOf({"weights.bin", std::numeric_limits<int64_t>::max(), 4}, 4), HasSubstr("of 10 bytes"));
  EXPECT_EQ(ErrorOf({"weights.bin", 0, 5}, 4), "found external data of 5 bytes, expected 4");
}

TEST_F(ExternalDataTest, RefusesWhatIsNoRegularFileWithoutWaitingForIt) {
  ASSERT_EQ(mkfifo((folder() + "/pipe.bin").c_str(), 0600), 0);
  EXPECT_THAT(ErrorOf({"pipe.bin", 0, 4}, 4), HasSubstr("no regular file"));
  EXPECT_THAT(ErrorOf({"sub", 0, 4}, 4), HasSubstr("a directory"));
}

TEST_F(ExternalDataTest, OffsetsAndLengthsAreNumbers) {
  onnx::TensorProto proto;
  const auto set = [&](const char* key, const char* value) {
    auto* entry = proto.add_external_data();
    entry->set_key(key);
    entry->set_value(value);
  };
  set("location", "weights.bin");
  set("offset", "12");
  EXPECT_EQ(ParseExternalRange(proto)->offset, 12);
  set("length", "-4");
  EXPECT_EQ(ParseExternalRange(proto).status().message(), "found external length '-4', expected a number of bytes");
}

// The shape of a Reshape kept in a file beside the model.
onnx::ModelProto ModelWithExternalShape(const std::string& location) {
  onnx::ModelProto proto = TextProto(R"(
    g (float[6] x) => (float[a,b] y) <int64[2] shape = {2, 3}> { y = Reshape (x, shape) })");
  onnx::TensorProto* shape = proto.mutable_graph()->mutable_initializer(0);
  shape->clear_int64_data();
  shape->clear_raw_data();
  shape->set_data_location(onnx::TensorProto::EXTERNAL);
  auto* entry = shape->add_external_data();
  entry->set_key("location");
  entry->set_value(location);
  return proto;
}

TEST_F(ExternalDataTest, SmallIntegerTensorsOfAModelAreRead) {
  WriteFile(folder() + "/shape.bin", std::string("\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0", 16));
  WriteFile(folder() + "/m.onnx", ModelWithExternalShape("shape.bin").SerializeAsString());
  const absl::StatusOr<Model> model = LoadModel(folder() + "/m.onnx");
  ASSERT_TRUE(model.ok()) << model.status();
  const Literal* shape = model->graph.literal(model->graph.node(0).inputs[1]);
  ASSERT_NE(shape, nullptr);
  EXPECT_THAT(shape->ints, ::testing::ElementsAre(2, 3));
}

TEST_F(ExternalDataTest, AModelThatReachesOutOfItsFolderIsRefused) {
  WriteFile(folder() + "/m.onnx", ModelWithExternalShape("../secret.bin").SerializeAsString());
  EXPECT_EQ(LoadModel(folder() + "/m.onnx").status().message(),
            "m.onnx: initializer 'shape': found external data at '../secret.bin', expected a relative path inside the "
            "model's folder");
}

}  // namespace
}  // namespace reusescope
