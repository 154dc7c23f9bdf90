// A copy of an .onnx file whose nodes carry more metadata (NodeProto.metadata_props); nothing else changes.
//
//   ModelAnnotations notes{.prefix = "reusescope."};
//   notes.nodes["3"] = {{"reusescope.flops", "1024"}};               the graph's fourth node
//   notes.nodes["3.then_branch.0"] = ...                             the first node of a subgraph of it
//   notes.nodes["f1.2"] = ...                                        the third node of the second function
//   RS_RETURN_IF_ERROR(WriteAnnotated("resnet50.onnx", "annotated.onnx", notes));
//
// The file is never parsed as a whole: its messages are walked on the wire level, and what is not metadata goes from
// file to file in pieces of 64 KiB, byte for byte, so a file of a gigabyte takes no more memory than its nodes need.
// Metadata whose keys begin with `prefix` is replaced, so that annotating twice is the same as once. External data are
// not touched: the copy refers to them as the model does.
//
// Errors: kInvalidArgument for a file that is no ONNX file in binary form, is corrupt, or would pass 2 GiB (the most
// that Protobuf reads), and for external data that are there where the copy is to stand in another folder (a reference
// cannot lead out of a model's folder); kNotFound and kUnknown of reading and writing.

#ifndef REUSESCOPE_IMPORTER_ANNOTATE_ONNX_H_
#define REUSESCOPE_IMPORTER_ANNOTATE_ONNX_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"

namespace reusescope {

using MetadataEntries = std::vector<std::pair<std::string, std::string>>;  // key, value

struct ModelAnnotations {
  std::string prefix;
  MetadataEntries model;
  // By address: positions in the file, from 0; attributes by name ("5.body.0", of a list of graphs "5.cases:1.0").
  absl::flat_hash_map<std::string, MetadataEntries> nodes;
};

absl::Status WriteAnnotated(const std::string& source, const std::string& path, const ModelAnnotations& annotations);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_ANNOTATE_ONNX_H_
