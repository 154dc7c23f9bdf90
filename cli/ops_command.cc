#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/schema/node_inference.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/table_layout.h"
#include "cli/text.h"

namespace reusescope::cli {
namespace {

struct OpsOptions {
  std::string name;
  bool markdown = false;
  ColorMode color = ColorMode::kAuto;
};

std::string QualifiedType(const OpSemantics& op) {
  return op.domain.empty() ? std::string(op.type) : absl::StrCat(op.domain, "::", op.type);
}

// "as Pad-13", of an operator that is one of ONNX's by another name; empty otherwise.
std::string OnnxName(const OpSemantics& op) {
  return op.same_as.version == 0 ? "" : absl::StrCat("as ", op.same_as.type, "-", op.same_as.version);
}

std::string ShapeSource(const OpSemantics& op) {
  if (op.same_as.version > 0) return OnnxName(op);
  if (op.domain == kReuseScopeDomain) return "set when it is made";
  std::string source = op.infer != nullptr ? "own rule" : op.domain.empty() ? "ONNX schema" : "ONNX schema or none";
  if (op.upper_bound != nullptr) absl::StrAppend(&source, ", at most");
  return source;
}

std::string CostRule(const OpSemantics& op) {
  if (op.same_as.version > 0) return OnnxName(op);
  if (op.lower != nullptr) return "by its parts";
  if (op.kernel == nullptr) return "unknown";
  if (op.kernel == &NoKernel) return "free";
  if (op.contraction) return "MACs of its loops";
  if (op.flops == 0 && op.transcendentals == 0) return "by its kernel";
  std::string text = absl::StrCat(op.flops, " FLOP");
  if (op.transcendentals > 0) absl::StrAppend(&text, " + ", op.transcendentals, " transc.");
  return absl::StrCat(text, " a point");
}

std::string GradientRule(const OpSemantics& op) {
  if (op.same_as.version > 0) return OnnxName(op);
  if (op.lower != nullptr) return "by its parts";
  if (op.gradient != nullptr) return "yes";
  return op.not_differentiable.empty() ? "-" : absl::StrCat("none: ", op.not_differentiable);
}

std::string AliasingRule(const OpSemantics& op) {
  if (op.alias != nullptr) return "depends on the node";
  switch (op.aliasing) {
    case Aliasing::kNone:
      return "-";
    case Aliasing::kView:
      return "view";
    case Aliasing::kStridedView:
      return "strided view";
  }
  return "-";
}

// Operators of ONNX's newest opsets that have no entry: analysed from the function bodies of their schemas, or unknown.
std::vector<OpKey> WithoutEntry() {
  std::vector<OpKey> keys;
  for (absl::string_view domain : {"", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training"}) {
    for (const OpKey& key : SchemasOfOpset(domain, LatestOpset(domain))) {
      const auto schema = DescribeSchema(key);
      if (!schema.ok() || schema->deprecated || OpRegistry::Get().Find(key) != nullptr) continue;
      keys.push_back(schema->op);
    }
  }
  return keys;
}

// What is said of one operator from some opset on.
struct OpLine {
  std::string type;
  int since;
  std::string shapes, cost, gradient, relies_on, stash, storage;
};

OpLine LineOf(const OpSemantics& op) {
  return {.type = QualifiedType(op),
          .since = op.since_version,
          .shapes = ShapeSource(op),
          .cost = absl::StrCat(CostRule(op), op.at_most != nullptr ? ", at most" : ""),
          .gradient = GradientRule(op),
          .relies_on = op.evaluate != nullptr ? "values of small operands" : "types alone",
          .stash = op.eager_saves != nullptr ? "saves" : "-",
          .storage = AliasingRule(op)};
}

OpLine LineOf(const OpKey& key) {
  const bool body = DescribeSchema(key)->has_function_body;
  const std::string by = body ? "its function body" : "unknown";
  return {.type = key.domain.empty() ? key.type : absl::StrCat(key.domain, "::", key.type),
          .since = key.since_version,
          .shapes = "ONNX schema",
          .cost = by,
          .gradient = by,
          .relies_on = body ? "the function body of ONNX's schema" : "types alone",
          .stash = "-",
          .storage = "-"};
}

// Every operator that models can have, and ours that `differentiate` makes.
std::vector<OpLine> AllLines() {
  std::vector<OpLine> lines;
  for (const OpSemantics* op : OpRegistry::Get().All()) lines.push_back(LineOf(*op));
  for (const OpKey& key : WithoutEntry()) lines.push_back(LineOf(key));
  return lines;
}

// The table of the documentation, of the operators that models can have.
std::string RenderMarkdown() {
  std::string text = "| operator | since | shapes | cost | gradient | relies on |\n|---|---|---|---|---|---|\n";
  for (const OpLine& line : AllLines()) {
    if (absl::StartsWith(line.type, absl::StrCat(kReuseScopeDomain, "::"))) continue;
    absl::StrAppend(&text, "| ", line.type, " | ", line.since, " | ", line.shapes, " | ", line.cost, " | ",
                    line.gradient, " | ", line.relies_on, " |\n");
  }
  return text;
}

std::string RenderOps(const std::vector<OpLine>& lines, const Terminal& terminal) {
  TableLayout table({{.header = "operator"},
                     {.header = "since", .align = Align::kRight},
                     {.header = "shapes"},
                     {.header = "cost"},
                     {.header = "gradient", .flexible = true},
                     {.header = "relies on", .drop = 1},
                     {.header = "eager stash", .drop = 3},
                     {.header = "storage", .drop = 2}});
  std::string previous;
  for (const OpLine& line : lines) {
    table.AddRow({Cell(line.type, line.type == previous ? Style::kQuiet : Style::kHeading), absl::StrCat(line.since),
                  line.shapes, line.cost, line.gradient, line.relies_on, line.stash, line.storage});
    previous = line.type;
  }
  return table.Render(terminal.width, terminal.palette);
}

// The lines of an operator, its name in any case, with or without its domain.
absl::StatusOr<std::vector<OpLine>> FindOps(absl::string_view name) {
  std::vector<OpLine> found;
  std::vector<std::string> names;
  for (OpLine& line : AllLines()) {
    const size_t domain = line.type.rfind(':');
    const std::string type = domain == std::string::npos ? line.type : line.type.substr(domain + 1);
    if (names.empty() || names.back() != type) names.push_back(type);
    if (absl::EqualsIgnoreCase(type, name) || absl::EqualsIgnoreCase(line.type, name)) found.push_back(std::move(line));
  }
  if (!found.empty()) return found;
  const std::string nearest = DidYouMean(name, names);
  return absl::NotFoundError(absl::StrCat(
      "no rule for an operator '", Printable(name), "'",
      nearest.empty() ? "; a model that uses it is analysed all the same, with its FLOPs reported as unknown"
                      : nearest));
}

absl::Status RunOps(const OpsOptions& options) {
  const Terminal terminal = DescribeTerminal(STDOUT_FILENO, options.color);
  if (!options.name.empty()) {
    const auto found = FindOps(options.name);
    if (!found.ok()) return found.status();
    return WriteOutput("", RenderOps(*found, terminal));
  }
  if (options.markdown) return WriteOutput("", RenderMarkdown());
  const std::vector<OpLine> all = AllLines();
  return WriteOutput("",
                     absl::StrCat(RenderOps(all, terminal), "\n  ", all.size(),
                                  " rules. An operator is served by the rule with the largest 'since' not above its "
                                  "opset; one without is reported as unknown, with its bytes.\n"));
}

}  // namespace

void AddOpsCommand(CLI::App& app, Action& action) {
  auto options = std::make_shared<OpsOptions>();
  CLI::App* command = app.add_subcommand(
      "ops", "List what is known about each operator: shapes, cost, gradient, and what that relies on");
  command->footer(
      "  reusescope ops              every operator with a rule\n"
      "  reusescope ops Conv         one of them, every version\n");
  command->add_option("NAME", options->name, "An operator: Conv, com.microsoft::Gelu")->option_text("OPERATOR");
  command->add_flag("--markdown", options->markdown, "The table of docs/operators.md");
  AddCommonOptions(*command, options->color);
  command->callback([options, &action] { action = [options] { return RunOps(*options); }; });
}

}  // namespace reusescope::cli
