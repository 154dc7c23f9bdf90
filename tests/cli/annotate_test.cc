// annotate as a program: the costs of the nodes are those of analyze, and the file is otherwise the model.

#include <map>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "onnx/checker.h"
#include "onnx/defs/operator_sets.h"
#include "onnx/defs/schema.h"
#include "onnx/onnx_pb.h"
#include "tests/cli/run_program.h"
#include "tests/testing/onnx_text.h"

namespace reusescope::cli {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;
using Metadata = std::map<std::string, std::string>;

onnx::ModelProto ParseModel(const std::string& path) {
  onnx::ModelProto model;
  EXPECT_TRUE(model.ParseFromString(ReadTextFile(path))) << path;
  return model;
}

// ONNX's checker, which wants all its schemas registered.
template <typename Model>
void ExpectChecks(const Model& model) {
  if (onnx::OpSchemaRegistry::Instance()->GetSchema("Conv", 11) == nullptr) onnx::RegisterOnnxOperatorSetSchema();
  EXPECT_NO_THROW(onnx::checker::check_model(model));
}

template <typename Proto>
Metadata OursOf(const Proto& proto) {
  Metadata ours;
  for (const auto& entry : proto.metadata_props()) {
    if (entry.key().rfind("reusescope.", 0) == 0) ours[entry.key().substr(11)] = entry.value();
  }
  return ours;
}

template <typename Proto>
void RemoveOurs(Proto& proto) {
  Proto kept;
  for (const auto& entry : proto.metadata_props()) {
    if (entry.key().rfind("reusescope.", 0) != 0) *kept.add_metadata_props() = entry;
  }
  proto.mutable_metadata_props()->Swap(kept.mutable_metadata_props());
}

int64_t Count(const Metadata& metadata, const std::string& key) {
  int64_t count = 0;
  EXPECT_TRUE(metadata.count(key) == 0 || absl::SimpleAtoi(metadata.at(key), &count)) << key;
  return count;
}

class AnnotateTest : public testing::Test {
 protected:
  onnx::ModelProto Annotate(const std::string& model, const std::string& options) {
    const ProgramRun run = RunShell(absl::StrCat("annotate ", model, " -o ", scratch_.File("out.onnx"), " ", options));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return ParseModel(scratch_.File("out.onnx"));
  }
  ScratchFolder scratch_;
};

class AnnotatedModelTest : public AnnotateTest, public testing::WithParamInterface<std::string> {};

TEST_P(AnnotatedModelTest, NodesAddUpToTheStepAndNothingElseChanges) {
  const std::string model = absl::StrCat("models/", GetParam(), ".onnx");
  onnx::ModelProto annotated = Annotate(model, "--hardware a100");
  const Json report = Json::parse(RunShell(absl::StrCat("analyze ", model, " --hardware a100 --format json")).out);
  const Metadata whole = OursOf(annotated);
  EXPECT_EQ(Count(whole, "step.flops"), report["totals"]["step"]["flops"].get<int64_t>());
  EXPECT_EQ(Count(whole, "step.bytes"), report["totals"]["step"]["bytes"].get<int64_t>());
  int64_t flops = Count(whole, "outside_the_nodes.flops"), bytes = Count(whole, "outside_the_nodes.bytes");
  for (const onnx::NodeProto& node : annotated.graph().node()) {
    const Metadata ours = OursOf(node);
    ASSERT_TRUE(ours.count("verdict") > 0) << node.name();
    flops += Count(ours, "flops");
    bytes += Count(ours, "bytes");
    EXPECT_EQ(Count(ours, "flops"),
              Count(ours, "forward.flops") + Count(ours, "backward.flops") + Count(ours, "update.flops"));
  }
  EXPECT_EQ(flops, report["totals"]["step"]["flops"].get<int64_t>());
  EXPECT_EQ(bytes, report["totals"]["step"]["bytes"].get<int64_t>());
  EXPECT_LT(Count(whole, "outside_the_nodes.flops"), flops / 100);  // the loss

  RemoveOurs(annotated);
  for (onnx::NodeProto& node : *annotated.mutable_graph()->mutable_node()) RemoveOurs(node);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(
      annotated, ParseModel(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/", model))));
}

INSTANTIATE_TEST_SUITE_P(Models, AnnotatedModelTest,
                         testing::Values("lenet5", "resnet50", "gpt2.dynamo18.eval", "lstm_lm.ts17.train"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

// Metadata says what a node became: a kernel with its time, a part of one, a view.
TEST_F(AnnotateTest, SaysWhatBecameOfANode) {
  const onnx::ModelProto model = Annotate("models/gpt2.dynamo18.eval.onnx", "--hardware h100 --mode inference");
  std::map<std::string, int> verdicts;
  for (const onnx::NodeProto& node : model.graph().node()) {
    const std::string verdict = OursOf(node)["verdict"];
    ++verdicts[verdict.rfind("part of", 0) == 0 ? "part" : verdict];
    if (node.op_type() != "Reshape") continue;
    EXPECT_THAT(verdict, testing::AnyOf("free: a view", "constant", HasSubstr("part of")));
  }
  EXPECT_GT(verdicts["compute-bound"], 0);
  EXPECT_GT(verdicts["memory-bound"], 0);
  EXPECT_GT(verdicts["part"], 0);
  EXPECT_GT(verdicts["free: a view"], 0);
}

// A function called twice: each call has its own costs, the body's node the sum; branches likewise.
TEST_F(AnnotateTest, FunctionsAndSubgraphsHaveTheirShare) {
  const std::string path = scratch_.File("nested.onnx");
  std::ofstream(path, std::ios::binary) << OnnxTextToBytes(R"(
    <ir_version: 10, opset_import: ["" : 18, "local" : 1]>
    main (float[4,8] x) => (float[4,8] y) <bool c = {1}> {
      p = local.Twice (x)
      q = local.Twice (p)
      y = If (c) <then_branch = g1 () => (float[4,8] t) { t = Relu (q) },
                  else_branch = g2 () => (float[4,8] e) { e = Abs (q) }>
    }
    <domain: "local", opset_import: ["" : 18]>
    Twice (a) => (b) { s = Sigmoid (a)  b = Add (a, s) }
  )");
  const onnx::ModelProto model = Annotate(path, "--mode inference");
  ExpectChecks(model);
  const int64_t elements = 4 * 8;
  const int64_t call = Count(OursOf(model.graph().node(0)), "flops");
  EXPECT_GT(call, elements);
  EXPECT_EQ(Count(OursOf(model.graph().node(1)), "flops"), call);
  int64_t body = 0;
  for (const onnx::NodeProto& node : model.functions(0).node()) body += Count(OursOf(node), "flops");
  EXPECT_EQ(body, 2 * call);
  EXPECT_EQ(Count(OursOf(model.functions(0).node(1)), "flops"), 2 * elements);  // the Add, called twice
  EXPECT_EQ(Count(OursOf(model.graph().node(2)), "flops"), elements);           // the Relu of the branch that runs
}

TEST_F(AnnotateTest, WrongCommandsAreTold) {
  EXPECT_EQ(RunShell("annotate models/lenet5.onnx").exit_code, 2);
  EXPECT_EQ(RunShell("annotate models/lenet5.onnx -o models/lenet5.onnx").exit_code, 1);
  EXPECT_EQ(RunShell("annotate models/lenet5.onnx -o /nowhere/x.onnx").exit_code, 1);
  EXPECT_EQ(RunShell("annotate models/lenet5.onnx -o x.onnx --hardware a100 --hardware h100").exit_code, 2);
}

TEST(GraphDotTest, ColoursFollowTheVerdict) {
  const std::string command = "graph models/lenet5.onnx --after=optimizer --format dot";
  EXPECT_THAT(RunShell(command).out, testing::Not(HasSubstr("fillcolor")));
  const std::string dot = RunShell(command + " --batch 512 --hardware a100").out;
  const Json report = Json::parse(RunShell("analyze models/lenet5.onnx --batch 512 --hardware a100 --format json").out);
  std::map<std::string, int> bounds;
  for (const Json& layer : report["layers"]) ++bounds[layer["bound"]];
  const auto times = [&dot](const std::string& text) {
    int count = 0;
    for (size_t at = dot.find(text); at != std::string::npos; at = dot.find(text, at + 1)) ++count;
    return count;
  };
  EXPECT_EQ(times("fillcolor=\"#E69F00\""), bounds["memory"] + 1);  // and the legend
  EXPECT_EQ(times("fillcolor=\"#56B4E9\""), bounds["compute"] + 1);
  EXPECT_EQ(times("cluster_legend"), 1);
  EXPECT_EQ(RunShell("graph models/lenet5.onnx --after=shapes --hardware a100").exit_code, 2);
}

}  // namespace
}  // namespace reusescope::cli
