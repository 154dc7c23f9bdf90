// The registry as a whole: every entry is one thing or the other, and what ONNX calls differentiable has a gradient.

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/schema/node_inference.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reusescope {
namespace {

TEST(OpRegistryTest, EntriesAreCompositeOrCore) {
  for (const OpSemantics* entry : OpRegistry::Get().All()) {
    SCOPED_TRACE(absl::StrCat(entry->domain, "::", entry->type, "-", entry->since_version));
    if (entry->same_as.version > 0) {
      const OpSemantics* onnx = OpRegistry::Get().Find({"", std::string(entry->same_as.type), entry->same_as.version});
      EXPECT_NE(onnx, nullptr);
      continue;
    }
    EXPECT_TRUE(entry->kernel != nullptr || entry->lower != nullptr) << "neither a kernel nor a lowering";
    const bool differentiable = entry->gradient != nullptr || entry->lower != nullptr;
    EXPECT_NE(differentiable, !entry->not_differentiable.empty()) << "a gradient, or the reason why there is none";
  }
}

TEST(OpRegistryTest, VersionsAreFoundByTheOpsetOfTheModel) {
  const OpSemantics* conv = OpRegistry::Get().Find({"", "Conv", 17});
  ASSERT_NE(conv, nullptr);
  EXPECT_TRUE(conv->contraction);
  EXPECT_EQ(OpRegistry::Get().Find({"com.example", "Conv", 17}), nullptr);
}

TEST(OpRegistryTest, WhatOnnxCallsDifferentiableHasARule) {
  std::set<std::string> missing;
  for (const OpKey& op : SchemasOfOpset("", LatestOpset(""))) {
    const absl::StatusOr<SchemaInfo> schema = DescribeSchema(op);
    ASSERT_TRUE(schema.ok()) << schema.status();
    bool differentiable = false;
    for (const FormalParameter& input : schema->inputs) differentiable = differentiable || input.differentiable;
    if (!differentiable || schema->deprecated) continue;
    const OpSemantics* entry = OpRegistry::Get().Find(schema->op);
    // Without an entry, an operator with a function body is inlined and differentiated through its body.
    if (entry == nullptr && schema->has_function_body) continue;
    if (entry == nullptr ||
        (entry->gradient == nullptr && entry->lower == nullptr && entry->not_differentiable.empty())) {
      missing.insert(op.type);
    }
  }
  EXPECT_THAT(missing, testing::IsEmpty());
}

}  // namespace
}  // namespace reusescope
