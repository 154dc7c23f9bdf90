// What the analysis says of a model's nodes, as metadata for the nodes of its file.
//
//   RS_ASSIGN_OR_RETURN(Model model, LoadModel(path));
//   const FileNodes nodes(model);                                  before the analysis takes the model apart
//   RS_ASSIGN_OR_RETURN(const Analysis analysis, Analyze(std::move(model), options));
//   RS_ASSIGN_OR_RETURN(const Annotations out, AnnotationsOf(nodes, analysis, device));
//   RS_RETURN_IF_ERROR(WriteAnnotated(path, output, out.metadata));
//
// Of a node with kernels:      reusescope.summary  "231 MFLOPs, 18.4 MiB, 12 µs, memory-bound"
//                              reusescope.kernels, .flops, .bytes, .seconds, .verdict: of all phases together
//                              reusescope.forward.flops, reusescope.backward.seconds, ...: of each phase, in training
// Of a node without a kernel:  reusescope.verdict  "free: a view", "constant", "part of 'norm/Add_1'"
// Seconds and verdicts need a device. The verdict of several kernels is that of the larger part of their time.
//
// A kernel counts for the file's node that makes its output, or whose name it still has; a backward kernel for the node
// whose gradient it computes; an update for the first node that reads the parameter. A call of a function has the sum
// of what is inside; nodes of a function's body have the sum over all calls. Kernels that belong to no node of the file
// (the loss) are summed up in the model's own metadata.

#ifndef REUSESCOPE_CLI_ANNOTATE_H_
#define REUSESCOPE_CLI_ANNOTATE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/measure/roofline.h"
#include "analysis/pipeline.h"
#include "importer/annotate_onnx.h"

namespace reusescope::cli {

inline constexpr absl::string_view kMetadataPrefix = "reusescope.";

// The nodes of a file, found again by the names that the analysis gives what it made of them. Holds views of nothing:
// the model may go.
class FileNodes {
 public:
  explicit FileNodes(const Model& model);

  // Addresses (importer/annotate_onnx.h) of the nodes to which a value or a node of that name belongs: the call first,
  // then the body's node. Empty when there is none.
  std::vector<std::string> OfValue(absl::string_view name) const { return FindValue(scopes_[0], name); }
  std::vector<std::string> OfNode(absl::string_view name) const { return FindNode(scopes_[0], name); }

  struct FileNode {
    std::string address, name;
    std::vector<std::string> inputs, outputs;
    std::vector<int> scopes;  // of its subgraphs, or of the function that it calls
  };
  // Of the file's main graph.
  const std::vector<FileNode>& top() const { return scopes_[0].nodes; }

 private:
  struct Scope {
    std::vector<FileNode> nodes;
    std::vector<std::string> outputs;
    absl::flat_hash_map<std::string, int> by_name, by_output;
  };
  int AddScope(const Graph& graph, const std::string& address, bool function);
  std::vector<std::string> FindValue(const Scope& scope, absl::string_view name) const;
  std::vector<std::string> FindNode(const Scope& scope, absl::string_view name) const;
  template <typename Lookup>
  std::vector<std::string> FindInside(const Scope& scope, absl::string_view name, Lookup lookup) const;

  std::vector<Scope> scopes_;  // the main graph first
  absl::flat_hash_map<std::string, int> functions_;
};

struct Annotations {
  ModelAnnotations metadata;
  int64_t nodes = 0;    // that carry costs
  int64_t kernels = 0;  // of the step
  int64_t unattributed_kernels = 0;
};

// kFailedPrecondition of RatesOf.
absl::StatusOr<Annotations> AnnotationsOf(const FileNodes& nodes, const Analysis& analysis,
                                          const std::optional<Hardware>& hardware, bool bare_peak);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_ANNOTATE_H_
