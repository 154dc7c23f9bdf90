#include "analysis/diagnose.h"

#include <algorithm>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/schema/node_inference.h"
#include "analysis/transform/dim_expression.h"
#include "analysis/transform/find_parameters.h"
#include "analysis/transform/resolve_shapes.h"

namespace reusescope {
namespace {

std::string DomainName(const std::string& domain) { return domain.empty() ? "ai.onnx" : domain; }

void LookAtOpsets(const Graph& graph, std::vector<Finding>& findings) {
  const absl::btree_map<std::string, int> opsets(graph.opsets.begin(), graph.opsets.end());
  for (const auto& [domain, version] : opsets) {
    const int latest = LatestOpset(domain);
    if (latest == 0 || version <= latest) continue;
    findings.push_back({Severity::kWarning,
                        absl::StrCat("opset ", version, " of ", DomainName(domain), " is newer than ", latest,
                                     ", the newest known; its operators are taken as of ", latest),
                        absl::StrCat("export at opset ", latest, ", or build ReuseScope with a newer ONNX")});
  }
}

// Open dimensions: one finding for each name, in the order of the file.
void LookAtInputs(const Graph& graph, std::vector<Finding>& findings) {
  absl::flat_hash_map<std::string, std::vector<std::string>> open;
  std::vector<std::string> symbols;
  for (ValueId id : graph.inputs) {
    const Value& input = graph.value(id);
    if (input.type.IsTensor() && !input.type.has_shape) {
      findings.push_back({Severity::kWarning, absl::StrCat("input '", input.name, "' declares no shape"),
                          absl::StrCat("--input ", input.name, "=D0xD1x... supplies it")});
      continue;
    }
    for (size_t d = 0; d < input.type.shape.size(); ++d) {
      if (input.type.shape[d] != kUnknownDim) continue;
      const std::string symbol = d < input.dim_symbols.size() ? input.dim_symbols[d] : "";
      if (IsDimensionExpression(symbol)) continue;  // follows from the dimensions that it names
      const std::string where = absl::StrCat("dimension ", d, " of input '", input.name, "'");
      if (symbol.empty()) {
        findings.push_back({Severity::kNote, absl::StrCat(where, " is open"),
                            absl::StrCat("--input ", input.name, "=D0xD1x... binds it")});
        continue;
      }
      std::vector<std::string>& places = open[symbol];
      if (places.empty()) symbols.push_back(symbol);
      places.push_back(where);
    }
  }
  for (const std::string& symbol : symbols) {
    const std::vector<std::string>& places = open[symbol];
    const size_t more = places.size() - 1;
    findings.push_back({Severity::kNote,
                        absl::StrCat("'", symbol, "' is open: ", places[0],
                                     more > 0 ? absl::StrCat(" and ", more, more == 1 ? " other" : " others") : ""),
                        absl::StrCat("--dim ", symbol, "=N binds ", more > 0 ? "them" : "it")});
  }
}

void LookAtOperators(const Graph& graph, std::vector<Finding>& findings) {
  absl::btree_map<std::string, std::pair<int, std::string>> unknown;  // nodes, the name of one
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    const OpSemantics* semantics = OpRegistry::Get().Find(node.op);
    if (semantics == nullptr || (semantics->kernel == nullptr && semantics->lower == nullptr)) {
      auto& [count, example] = unknown[OpKeyString(node.op)];
      if (count++ == 0) example = node.name;
    }
  }
  for (const auto& [op, row] : unknown) {
    findings.push_back({Severity::kWarning,
                        absl::StrCat(op, " has no rule (", row.first, row.first == 1 ? " node" : " nodes",
                                     ", for example '", row.second, "'): its FLOPs are unknown"),
                        "its bytes count; --strict makes it an error"});
  }
}

}  // namespace

absl::string_view SeverityName(Severity severity) {
  constexpr absl::string_view kNames[] = {"error", "warning", "note"};
  return kNames[static_cast<size_t>(severity)];
}

std::vector<Finding> Diagnose(Model model) {
  std::vector<Finding> findings;
  for (const std::string& warning : model.warnings) findings.push_back({Severity::kWarning, warning, ""});
  LookAtOpsets(model.graph, findings);
  LookAtInputs(model.graph, findings);
  std::vector<std::string> notes;
  absl::Status status = ResolveShapes(model, {.assume = true}, notes);
  if (status.ok()) status = FindParameters(model.graph, {}, notes);
  if (!status.ok()) {
    findings.push_back({Severity::kError, std::string(status.message()), "mend the file, or export it anew"});
  } else {
    for (const std::string& note : notes) findings.push_back({Severity::kNote, note, ""});
  }
  LookAtOperators(model.graph, findings);
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.severity < b.severity; });
  return findings;
}

}  // namespace reusescope
