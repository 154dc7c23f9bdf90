#include "importer/onnx_tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const ExternalData& NoFiles() {
  static const ExternalData none("");
  return none;
}

onnx::TensorProto Tensor(DType dtype, std::vector<int64_t> dims, absl::string_view raw = "") {
  onnx::TensorProto proto;
  proto.set_data_type(static_cast<int32_t>(dtype));
  for (int64_t dim : dims) proto.add_dims(dim);
  if (!raw.empty()) proto.set_raw_data(std::string(raw));
  return proto;
}

std::string ErrorOf(const onnx::TensorProto& proto) {
  const absl::StatusOr<Literal> literal = ConvertTensor(proto, NoFiles());
  if (literal.ok()) return "ok";
  EXPECT_EQ(literal.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(literal.status().message());
}

TEST(ConvertTensorTest, DecodesRawIntegers) {
  EXPECT_THAT(
      ConvertTensor(Tensor(DType::kInt64, {2}, std::string("\1\0\0\0\0\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 16)),
                    NoFiles())
          ->ints,
      ElementsAre(1, -1));
  EXPECT_THAT(ConvertTensor(Tensor(DType::kInt16, {2}, std::string("\0\x80\x01\0", 4)), NoFiles())->ints,
              ElementsAre(-32768, 1));
  EXPECT_THAT(ConvertTensor(Tensor(DType::kUint8, {2}, "\xFF\x01"), NoFiles())->ints, ElementsAre(255, 1));
  EXPECT_THAT(ConvertTensor(Tensor(DType::kBool, {3}, std::string("\0\1\2", 3)), NoFiles())->ints,
              ElementsAre(0, 1, 1));
}

TEST(ConvertTensorTest, DecodesPackedElementsFromTheLowBits) {
  EXPECT_THAT(ConvertTensor(Tensor(DType::kInt4, {3}, "\x8F\x07"), NoFiles())->ints, ElementsAre(-1, -8, 7));
  EXPECT_THAT(ConvertTensor(Tensor(DType::kUint4, {3}, "\x8F\x07"), NoFiles())->ints, ElementsAre(15, 8, 7));
  EXPECT_THAT(ConvertTensor(Tensor(DType::kInt2, {5}, "\xE4\x03"), NoFiles())->ints, ElementsAre(0, 1, -2, -1, -1));
  onnx::TensorProto typed = Tensor(DType::kInt4, {3});
  typed.add_int32_data(0x8F);
  typed.add_int32_data(0x07);
  EXPECT_THAT(ConvertTensor(typed, NoFiles())->ints, ElementsAre(-1, -8, 7));
}

TEST(ConvertTensorTest, DecodesTypedFields) {
  onnx::TensorProto int32 = Tensor(DType::kInt8, {2});
  int32.add_int32_data(-3);
  int32.add_int32_data(127);
  EXPECT_THAT(ConvertTensor(int32, NoFiles())->ints, ElementsAre(-3, 127));
  onnx::TensorProto half = Tensor(DType::kFloat16, {2});
  half.add_int32_data(0x3C00);
  half.add_int32_data(0xC000);
  EXPECT_THAT(ConvertTensor(half, NoFiles())->floats, ElementsAre(1.0, -2.0));
  onnx::TensorProto scalar = Tensor(DType::kFloat32, {});
  scalar.add_float_data(0.5f);
  EXPECT_THAT(ConvertTensor(scalar, NoFiles())->floats, ElementsAre(0.5));
  onnx::TensorProto unsigned64 = Tensor(DType::kUint32, {1});
  unsigned64.add_uint64_data(4'000'000'000u);
  EXPECT_THAT(ConvertTensor(unsigned64, NoFiles())->ints, ElementsAre(4'000'000'000));
  onnx::TensorProto text = Tensor(DType::kString, {2});
  text.add_string_data("a");
  text.add_string_data("");
  EXPECT_THAT(ConvertTensor(text, NoFiles())->strings, ElementsAre("a", ""));
}

struct FloatCase {
  DType dtype;
  uint64_t bits;
  double value;
};

// From the definitions: float16 and bfloat16 of IEEE 754, the 8-bit formats of ONNX's float8 page, MX's E2M1 and E8M0.
TEST(DecodeFloatTest, ReadsEveryFormat) {
  const double inf = std::numeric_limits<double>::infinity();
  const FloatCase cases[] = {
      {DType::kFloat16, 0x7BFF, 65504},    {DType::kFloat16, 0x0001, std::ldexp(1, -24)},
      {DType::kFloat16, 0x7C00, inf},      {DType::kBfloat16, 0x4049, 3.140625},
      {DType::kFloat8E4M3FN, 0x7E, 448},   {DType::kFloat8E4M3FN, 0x01, std::ldexp(1, -9)},
      {DType::kFloat8E4M3FNUZ, 0x7F, 240}, {DType::kFloat8E5M2, 0x7B, 57344},
      {DType::kFloat8E5M2, 0xFC, -inf},    {DType::kFloat8E5M2FNUZ, 0x7F, 57344},
      {DType::kFloat4E2M1, 0x7, 6},        {DType::kFloat4E2M1, 0x9, -0.5},
      {DType::kFloat8E8M0, 127, 1},        {DType::kFloat8E8M0, 0, std::ldexp(1, -127)},
      {DType::kFloat32, 0x3F000000, 0.5},  {DType::kFloat64, 0x3FF8000000000000, 1.5},
  };
  for (const FloatCase& c : cases) EXPECT_EQ(DecodeFloat(c.dtype, c.bits), c.value) << DTypeName(c.dtype) << c.bits;
  for (const auto& [dtype, bits] : std::vector<std::pair<DType, uint64_t>>{{DType::kFloat16, 0x7E00},
                                                                           {DType::kFloat8E4M3FN, 0x7F},
                                                                           {DType::kFloat8E4M3FNUZ, 0x80},
                                                                           {DType::kFloat8E5M2FNUZ, 0x80},
                                                                           {DType::kFloat8E8M0, 0xFF}}) {
    EXPECT_TRUE(std::isnan(DecodeFloat(dtype, bits))) << DTypeName(dtype);
  }
}

TEST(ConvertTensorTest, WithoutPayloadHasNoValuesAndEmptyTensorsNeedNone) {
  EXPECT_FALSE(ConvertTensor(Tensor(DType::kInt64, {2}), NoFiles())->has_data);
  const absl::StatusOr<Literal> empty = ConvertTensor(Tensor(DType::kInt64, {0}), NoFiles());
  EXPECT_TRUE(empty->has_data);
  EXPECT_EQ(empty->size(), 0);
}

TEST(ConvertTensorTest, KeepsValuesOfSmallTensorsOnly) {
  const std::string zeros(8 * (kMaxLiteralElements + 1), '\0');
  const auto kept = [&](DType dtype, int64_t elements, int bytes) {
    return ConvertTensor(Tensor(dtype, {elements}, zeros.substr(0, elements * bytes)), NoFiles())->has_data;
  };
  EXPECT_TRUE(kept(DType::kInt64, kMaxLiteralElements, 8));
  EXPECT_FALSE(kept(DType::kInt64, kMaxLiteralElements + 1, 8));
  EXPECT_TRUE(kept(DType::kFloat32, kMaxFloatLiteralElements, 4));
  EXPECT_FALSE(kept(DType::kFloat32, kMaxFloatLiteralElements + 1, 4));
}

TEST(ConvertTensorTest, RefusesPayloadsThatDoNotFitTheShape) {
  EXPECT_EQ(ErrorOf(Tensor(DType::kInt64, {2}, "12345678")), "found 8 bytes of raw_data, expected 16 for int64[2]");
  onnx::TensorProto typed = Tensor(DType::kInt64, {2, 2});
  typed.add_int64_data(1);
  EXPECT_EQ(ErrorOf(typed), "found 1 values of int64_data, expected 4 for int64[2, 2]");
  EXPECT_THAT(ErrorOf(Tensor(DType::kString, {1}, "x")), HasSubstr("expected string_data"));
}

TEST(ConvertTensorTest, RefusesNegativeOverflowingAndAbsurdDimensions) {
  EXPECT_EQ(ErrorOf(Tensor(DType::kFloat32, {3, -1})), "found dimension -1, expected 0 or more");
  EXPECT_THAT(ErrorOf(Tensor(DType::kFloat32, {int64_t{1} << 62, 8})),
              HasSubstr("expected at most 1125899906842624 bytes"));
  EXPECT_THAT(ErrorOf(Tensor(DType::kFloat32, {int64_t{1} << 60})), HasSubstr("[1152921504606846976]"));  // 4 EB
  EXPECT_EQ(ErrorOf(Tensor(DType::kFloat32, {int64_t{1} << 48})), "ok");
  EXPECT_EQ(ErrorOf(Tensor(DType::kFloat32, {int64_t{1} << 62, 0, 8})), "ok");
}

TEST(ConvertTensorTest, RefusesMoreDimensionsThanAnyoneUses) {
  EXPECT_EQ(ErrorOf(Tensor(DType::kFloat32, std::vector<int64_t>(64, 1))), "ok");
  EXPECT_EQ(ErrorOf(Tensor(DType::kFloat32, std::vector<int64_t>(65, 1))), "found 65 dimensions, expected at most 64");
}

TEST(ConvertTensorTest, RefusesElementTypesThatOnnxDoesNotHave) {
  onnx::TensorProto proto;
  EXPECT_EQ(ErrorOf(proto), "found element type 0, expected 1 to 26");
  proto.set_data_type(-100);
  EXPECT_EQ(ErrorOf(proto), "found element type -100, expected 1 to 26");
}

onnx::SparseTensorProto Sparse(std::vector<int64_t> dims, std::vector<int64_t> index_dims,
                               std::vector<int64_t> indices) {
  onnx::SparseTensorProto proto;
  for (int64_t dim : dims) proto.add_dims(dim);
  *proto.mutable_values() = Tensor(DType::kInt64, {2});
  proto.mutable_values()->add_int64_data(7);
  proto.mutable_values()->add_int64_data(9);
  *proto.mutable_indices() = Tensor(DType::kInt64, std::move(index_dims));
  for (int64_t index : indices) proto.mutable_indices()->add_int64_data(index);
  return proto;
}

TEST(ConvertSparseTensorTest, WritesZerosOut) {
  EXPECT_THAT(ConvertSparseTensor(Sparse({2, 3}, {2}, {1, 5}), NoFiles())->ints, ElementsAre(0, 7, 0, 0, 0, 9));
  EXPECT_THAT(ConvertSparseTensor(Sparse({2, 3}, {2, 2}, {0, 1, 1, 2}), NoFiles())->ints,
              ElementsAre(0, 7, 0, 0, 0, 9));
}

TEST(ConvertSparseTensorTest, RefusesIndicesOutsideTheTensor) {
  for (const auto& proto : {Sparse({2, 3}, {2}, {1, 6}), Sparse({2, 3}, {2}, {-1, 2}),
                            Sparse({2, 3}, {2, 2}, {0, 1, 0, 3}), Sparse({2, 3}, {2, 2}, {0, 1, 2, 0})}) {
    const absl::StatusOr<Literal> literal = ConvertSparseTensor(proto, NoFiles());
    ASSERT_FALSE(literal.ok());
    EXPECT_THAT(std::string(literal.status().message()), HasSubstr("outside the tensor, expected it inside [2, 3]"));
  }
}

}  // namespace
}  // namespace reusescope
