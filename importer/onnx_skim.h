// The part of an ONNX file that is not weights: what Protobuf has to parse, at the cost of the graph alone.
//
//   RS_ASSIGN_OR_RETURN(ByteSource source, ByteSource::OpenFile("vgg16.onnx"));   // 528 MB
//   RS_ASSIGN_OR_RETURN(std::string model, SkimOnnx(source));                     // 12 kB, a serialized ModelProto
//
// Walks the protobuf wire format and leaves out by length, without reading it, the payload (raw_data, float_data, ...)
// of every TensorProto that has more than kMaxLiteralElements elements or more than kMaxLiteralBytes of payload,
// wherever it is: initializers, sparse initializers, attributes, subgraphs, functions. Left out too: documentation
// strings, training graphs (an empty message stays in place of each), and node metadata other than the module path.
// Everything else is copied. Messages around something left out are written anew, with their lengths as five-byte
// varints.
//
// Linear in the bytes walked; the result is never longer than the input plus four bytes per nested message. Whether
// what is copied makes sense is for Protobuf and the loader to say.
//
// Errors: kInvalidArgument with the byte, the message and what was expected, for a field that does not fit into the
// message around it, an unknown wire type, nesting deeper than kMaxMessageDepth, a remainder of 2 GiB or more (the most
// that Protobuf parses).

#ifndef REUSESCOPE_IMPORTER_ONNX_SKIM_H_
#define REUSESCOPE_IMPORTER_ONNX_SKIM_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "importer/byte_source.h"

namespace reusescope {

// Enough for kMaxLiteralElements elements of the widest type.
inline constexpr int64_t kMaxLiteralBytes = 64 * 1024;

absl::StatusOr<std::string> SkimOnnx(ByteSource& source);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_ONNX_SKIM_H_
