// The program as a user meets it: exit codes, streams, help, errors, colour.

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/app.h"
#include "cli/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/cli/run_program.h"

namespace reusescope::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kThreeNumbers = "capacity=1MiB,bandwidth=1TB/s,throughput=100TFLOP/s,memory=1GB";

std::vector<std::string> CommandNames() {
  Action action;
  const std::unique_ptr<CLI::App> app = MakeApp(action);
  std::vector<std::string> names;
  for (const CLI::App* command : app->get_subcommands({})) names.push_back(command->get_name());
  return names;
}

TEST(EndToEndTest, EveryHelpTeachesByExampleAndFits) {
  std::vector<std::vector<std::string>> commands = {{"--help"}};
  for (const std::string& name : CommandNames()) commands.push_back({name, "--help"});
  for (const std::vector<std::string>& command : commands) {
    const ProgramRun run = RunProgram(command);
    EXPECT_EQ(run.exit_code, 0) << command[0];
    EXPECT_THAT(run.err, IsEmpty());
    EXPECT_THAT(run.out, AllOf(HasSubstr("Usage: reusescope"), HasSubstr("\nExamples:\n  "), HasSubstr("--help")));
    for (absl::string_view line : absl::StrSplit(run.out, '\n')) EXPECT_LE(DisplayWidth(line), 100) << line;
  }
}

TEST(EndToEndTest, HelpNamesEveryOption) {
  Action action;
  const std::unique_ptr<CLI::App> app = MakeApp(action);
  for (const CLI::App* command : app->get_subcommands({})) {
    const std::string help = RunProgram({command->get_name(), "--help"}).out;
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& name : option->get_lnames()) EXPECT_THAT(help, HasSubstr("--" + name));
    }
  }
}

// Examples in help are commands that the parser accepts.
TEST(EndToEndTest, ExamplesInHelpParse) {
  Action action;
  int tried = 0;
  for (const std::string& name : CommandNames()) {
    const std::unique_ptr<CLI::App> names = MakeApp(action);
    for (absl::string_view line : absl::StrSplit(names->get_subcommand(name)->get_footer(), '\n')) {
      const size_t start = line.find("reusescope " + name);
      if (start == absl::string_view::npos) continue;
      std::string example(line.substr(start + std::string("reusescope").size()));
      example = example.substr(0, example.find(" | "));
      example = example.substr(0, example.find(")\""));
      example = example.substr(0, example.find("   "));  // a comment follows
      const std::unique_ptr<CLI::App> app = MakeApp(action);
      EXPECT_NO_THROW(app->parse(example, false)) << example;
      ++tried;
    }
  }
  EXPECT_GE(tried, 12);
}

TEST(EndToEndTest, VersionIsOneLine) {
  const ProgramRun run = RunProgram({"--version"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, "reusescope 0.1.0\n");
}

struct WrongUse {
  std::vector<std::string> arguments;
  int exit_code;
  std::string message;
};

void PrintTo(const WrongUse& use, std::ostream* os) { *os << absl::StrJoin(use.arguments, " "); }

class WrongUseTest : public testing::TestWithParam<WrongUse> {};

// Nothing on stdout, one line that says what is wrong, the code that scripts can tell apart.
TEST_P(WrongUseTest, SaysWhatWouldHaveBeenRight) {
  const ProgramRun run = RunProgram(GetParam().arguments);
  EXPECT_EQ(run.exit_code, GetParam().exit_code) << run.err;
  EXPECT_THAT(run.out, IsEmpty());
  EXPECT_THAT(run.err, StartsWith("reusescope: error: "));
  EXPECT_THAT(run.err, HasSubstr(GetParam().message));
  if (GetParam().exit_code == kExitUsage) {
    EXPECT_THAT(run.err, HasSubstr("--help"));
  }
}

const std::string kLenet = "models/lenet5.onnx";

INSTANTIATE_TEST_SUITE_P(
    EndToEnd, WrongUseTest,
    testing::ValuesIn(std::vector<WrongUse>{
        {{}, 2, "no command given"},
        {{"analyse", kLenet}, 2, "unknown command 'analyse'; did you mean 'analyze'?"},
        {{"model.onnx"}, 2, "to analyse a model: reusescope analyze model.onnx"},
        {{"--bacth"}, 2, "unknown option '--bacth'"},
        {{"analyze"}, 2, "MODEL is required"},
        {{"analyze", kLenet, "--bacth", "3"}, 2, "unknown option '--bacth'; did you mean '--batch'?"},
        {{"analyze", kLenet, "--bacth=3"}, 2, "unknown option '--bacth'; did you mean '--batch'?"},
        {{"analyze", kLenet, "second.onnx"}, 2, "unexpected argument 'second.onnx'"},
        {{"analyze", kLenet, "--batch", "0"}, 2, "'0' is not a whole number above 0"},
        {{"analyze", kLenet, "--batch", "many"}, 2, "'many' is not a whole number above 0"},
        {{"analyze", kLenet, "--batch"}, 2, "--batch"},
        {{"analyze", kLenet, "--dim", "sequence"}, 2, "'sequence' is not NAME=N"},
        {{"analyze", kLenet, "--input", "x=1xtwo"}, 2, "'x=1xtwo' is not NAME=SHAPE"},
        {{"analyze", kLenet, "--optimizer", "adma"}, 2, "unknown value 'adma'; did you mean 'adam'?"},
        {{"analyze", kLenet, "--precision", "fp12"}, 2, "one of fp32, tf32, fp16, bf16, amp-fp16, amp-bf16"},
        {{"analyze", kLenet, "--freeze", "("}, 2, "'(' is not a regular expression"},
        {{"analyze", kLenet, "--hardware", "rtx4091"}, 2, "rtx-4090"},
        {{"analyze", kLenet, "--hardware", "capacity=1,bandwidth=2"}, 2, "--hardware"},
        {{"analyze", kLenet, "--capacity", "12 parsecs"}, 2, "--capacity"},
        {{"analyze", kLenet, "--top", "-1"}, 2, "--top"},
        {{"analyze", "models/lenet6.onnx"}, 1, "models/lenet6.onnx"},
        {{"analyze", "README.md"}, 1, "README.md"},
        {{"analyze", kLenet, "-o", "/nonexistent/folder/report"}, 1, "cannot write '/nonexistent/folder/report'"},
        {{"graph", kLenet}, 2, "--after is required"},
        {{"graph", kLenet, "--after", "shape"}, 2, "unknown value 'shape'; did you mean 'shapes'?"},
        {{"graph", "missing.onnx", "--after=load"}, 1, "missing.onnx"},
        {{"devices", "a1000"}, 1, "a1000"},
        {{"ops", "Convv"}, 1, "did you mean 'Conv'"},
        {{"explain", "reuse-distanse"}, 1, "did you mean 'reuse-distance'"},
        {{"completion", "tcsh"}, 2, "one of bash, zsh, fish"},
    }));

TEST(EndToEndTest, HostileArgumentsAreDisarmedInMessages) {
  const ProgramRun run = RunProgram({"analyze", "\x1b[31m.onnx"});
  EXPECT_EQ(run.exit_code, kExitFailed);
  EXPECT_THAT(run.err, Not(HasSubstr("\x1b")));
}

TEST(EndToEndTest, ColourIsForTerminalsUnlessAskedFor) {
  EXPECT_THAT(RunProgram({"explain", "mac"}).out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(RunProgram({"explain", "mac", "--color=always"}).out, HasSubstr("\x1b[1mmac\x1b[0m"));
  EXPECT_THAT(RunProgram({"explain", "mac", "--color=never"}).out, Not(HasSubstr("\x1b")));
}

TEST(EndToEndTest, DevicesAreListedAndSourced) {
  EXPECT_THAT(RunProgram({"devices"}).out, AllOf(HasSubstr("a100-sxm-80gb"), HasSubstr("mi300x"), HasSubstr("ridge")));
  EXPECT_THAT(RunProgram({"devices", "h100"}).out, AllOf(HasSubstr("h100-sxm"), HasSubstr("cited"), HasSubstr("[1] ")));
  EXPECT_THAT(RunProgram({"devices", kThreeNumbers}).out, AllOf(HasSubstr("custom"), HasSubstr("given")));
}

TEST(EndToEndTest, OperatorsAreListedByVersion) {
  const ProgramRun all = RunProgram({"ops"});
  EXPECT_EQ(all.exit_code, 0);
  EXPECT_THAT(all.out, AllOf(HasSubstr("Conv"), HasSubstr("Softmax"), HasSubstr("MACs of its loops")));
  EXPECT_THAT(RunProgram({"ops", "conv"}).out, AllOf(HasSubstr("Conv"), Not(HasSubstr("Softmax"))));
}

TEST(EndToEndTest, ExplainListsAndExplains) {
  EXPECT_THAT(RunProgram({"explain"}).out, AllOf(HasSubstr("reuse-distance"), HasSubstr("ridge-point")));
  EXPECT_THAT(RunProgram({"explain", "ridge", "point"}).out, HasSubstr("peak FLOP/s / bandwidth B/s"));
  EXPECT_THAT(RunProgram({"explain", "ridge point"}).out, HasSubstr("peak FLOP/s / bandwidth B/s"));
  EXPECT_THAT(RunProgram({"explain", "ridge", "pint"}).err,
              HasSubstr("no term 'ridge pint'; did you mean 'ridge-point'"));
}

TEST(EndToEndTest, GraphListsTheFilesValues) {
  const ProgramRun run = RunProgram({"graph", kLenet, "--batch", "4", "--after=shapes", "--format", "json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const nlohmann::json graph = nlohmann::json::parse(run.out);
  EXPECT_EQ(graph["schema"], "reusescope.graph/1");
  std::set<std::string> names;
  for (const auto& value : graph["values"]) {
    names.insert(value["name"]);
    EXPECT_TRUE(value["dtype"].is_string() && value["kind"].is_string());
    for (const auto& dimension : value["shape"]) EXPECT_TRUE(dimension.is_number_integer()) << value;
  }
  for (const auto& node : graph["nodes"]) {
    for (const auto& output : node["outputs"]) EXPECT_EQ(names.count(output), 1u) << output;
  }
}

TEST(EndToEndTest, GraphAsTextAndDrawing) {
  const ProgramRun text = RunProgram({"graph", kLenet, "--after=optimizer"});
  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, AllOf(HasSubstr("\nforward\n"), HasSubstr("\nbackward\n"), HasSubstr("\nupdate\n")));
  const ProgramRun drawing = RunProgram({"graph", kLenet, "--after=differentiate", "--format=dot"});
  EXPECT_THAT(drawing.out, AllOf(StartsWith("digraph "), HasSubstr("cluster_backward"), HasSubstr(" -> ")));
}

// The report stays alone on stdout.
TEST(EndToEndTest, DumpGoesToStderr) {
  const ProgramRun run = RunProgram({"analyze", kLenet, "--dump-after=shapes", "--format=json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(nlohmann::json::accept(run.out));
  EXPECT_THAT(run.err, HasSubstr("after shapes"));
}

TEST(EndToEndTest, OutputGoesToTheFile) {
  const ScratchFolder scratch;
  const std::string path = scratch.File("report.md");
  const ProgramRun run = RunProgram({"analyze", kLenet, "--format=markdown", "-o", path});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, IsEmpty());
  EXPECT_THAT(ReadTextFile(path), AllOf(HasSubstr("# "), HasSubstr("## Verdict"), HasSubstr("| --- |")));
}

TEST(EndToEndTest, TableFitsItsWidth) {
  for (int width : {60, 80, 100, 140}) {
    const ProgramRun run =
        RunProgram({"analyze", kLenet, "--batch=32", "--hardware=a100-sxm-80gb", "--hardware=rtx-4090"},
                   absl::StrCat("COLUMNS=", width));
    ASSERT_EQ(run.exit_code, 0) << run.err;
    for (absl::string_view line : absl::StrSplit(run.out, '\n')) {
      if (width >= 80) {
        EXPECT_LE(DisplayWidth(line), width) << line;
      }
      EXPECT_FALSE(absl::EndsWith(line, " ")) << line;
    }
  }
}

}  // namespace
}  // namespace reusescope::cli
