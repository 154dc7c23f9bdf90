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

std::string ShapeSource(const OpSemantics& op) {
  if (op.domain == kReuseScopeDomain) return "set when it is made";
  std::string source = op.infer != nullptr ? "own rule" : op.domain.empty() ? "ONNX schema" : "ONNX schema or none";
  if (op.upper_bound != nullptr) absl::StrAppend(&source, ", at most");
  return source;
}

std::string CostRule(const OpSemantics& op) {
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

// The table of the documentation: every operator that models can have.
std::string RenderMarkdown() {
  std::string text = "| operator | since | shapes | cost | gradient | relies on |\n|---|---|---|---|---|---|\n";
  for (const OpSemantics* op : OpRegistry::Get().All()) {
    if (op->domain == kReuseScopeDomain) continue;
    const absl::string_view relies = op->evaluate != nullptr ? "values of small operands, where known" : "types alone";
    absl::StrAppend(&text, "| ", QualifiedType(*op), " | ", op->since_version, " | ", ShapeSource(*op), " | ",
                    CostRule(*op), " | ", GradientRule(*op), " | ", relies, " |\n");
  }
  for (const OpKey& key : WithoutEntry()) {
    const bool body = DescribeSchema(key)->has_function_body;
    const absl::string_view by = body ? "its function body" : "unknown";
    absl::StrAppend(&text, "| ", key.domain.empty() ? "" : absl::StrCat(key.domain, "::"), key.type, " | ",
                    key.since_version, " | ONNX schema | ", by, " | ", by, " | ",
                    body ? "the function body of ONNX's schema" : "types alone", " |\n");
  }
  return text;
}

std::string RenderOps(const std::vector<const OpSemantics*>& ops, const Terminal& terminal) {
  TableLayout table({{.header = "operator"},
                     {.header = "since", .align = Align::kRight},
                     {.header = "shapes"},
                     {.header = "cost"},
                     {.header = "gradient", .flexible = true},
                     {.header = "eager stash", .drop = 2},
                     {.header = "evaluated", .drop = 3},
                     {.header = "storage", .drop = 1}});
  const OpSemantics* previous = nullptr;
  for (const OpSemantics* op : ops) {
    const bool repeated = previous != nullptr && QualifiedType(*previous) == QualifiedType(*op);
    previous = op;
    table.AddRow({Cell(QualifiedType(*op), repeated ? Style::kQuiet : Style::kHeading), absl::StrCat(op->since_version),
                  ShapeSource(*op), CostRule(*op), GradientRule(*op), op->eager_saves != nullptr ? "saves" : "-",
                  op->evaluate != nullptr ? "yes" : "-", AliasingRule(*op)});
  }
  return table.Render(terminal.width, terminal.palette);
}

// Names and versions for an operator's name, any case, with or without its domain.
absl::StatusOr<std::vector<const OpSemantics*>> FindOps(absl::string_view name) {
  std::vector<const OpSemantics*> found;
  std::vector<std::string> names;
  for (const OpSemantics* op : OpRegistry::Get().All()) {
    const bool same = absl::EqualsIgnoreCase(op->type, name) || absl::EqualsIgnoreCase(QualifiedType(*op), name);
    if (same) found.push_back(op);
    if (names.empty() || names.back() != op->type) names.emplace_back(op->type);
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
  const std::vector<const OpSemantics*> all = OpRegistry::Get().All();
  return WriteOutput("",
                     absl::StrCat(RenderOps(all, terminal), "\n  ", all.size(),
                                  " rules. An operator is served by the rule with the largest 'since' not above its "
                                  "opset.\n"));
}

}  // namespace

void AddOpsCommand(CLI::App& app, Action& action) {
  auto options = std::make_shared<OpsOptions>();
  CLI::App* command =
      app.add_subcommand("ops", "List what is known about each operator: shapes, cost, gradient, what PyTorch stashes");
  command->footer(
      "  reusescope ops              every operator with a rule\n"
      "  reusescope ops Conv         one of them, every version\n");
  command->add_option("NAME", options->name, "An operator: Conv, com.microsoft::Gelu")->option_text("OPERATOR");
  command->add_flag("--markdown", options->markdown, "The table of docs/operators.md");
  AddCommonOptions(*command, options->color);
  command->callback([options, &action] { action = [options] { return RunOps(*options); }; });
}

}  // namespace reusescope::cli
