// BeamSearch, WhisperBeamSearch, GreedySearch and Sampling of com.microsoft: a decoder that runs once for each token.
//
// Their bodies have fixed formal inputs (ONNX Runtime tells them apart by name, so do we): tokens and positions
// [rows, length], masks [rows, past + length], past keys and values [.., past, size], of an encoder's [.., E, size].
// The encoder runs once. The prompt is taken by an encoder that makes scores, else by init_decoder, else by a copy of
// the decoder. Then the decoder takes one token at a time, with the past of its middle run, whose work is the mean of
// all of them as it grows evenly (the run before the middle where there are two).
//
// How many tokens: what --trip-count says, else max_length less the prompt, which is an upper bound, as a search ends
// early where every sequence has ended; else, where shapes are assumed, 1.

#include <algorithm>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/control_flow.h"
#include "analysis/transform/shape_resolver.h"

namespace reusescope {
namespace {

// Lengths that a run of a body sees.
struct RunLengths {
  int64_t rows, length, past, encoded;
};

bool OfEncoder(absl::string_view name) {
  return absl::StrContains(name, "cross") || absl::StrContains(name, "encoder");
}

// Dimension d of a formal input of a decoder.
int64_t DecoderDim(const RunLengths& run, const Value& formal, int d) {
  const int rank = formal.type.rank();
  const int rows = rank == 5 ? 1 : 0;  // [2, rows, heads, past, size] holds keys and values
  if (d == rows) return run.rows;
  if (rank >= 4) return d == rank - 2 ? (OfEncoder(formal.name) ? run.encoded : run.past) : kUnknownDim;
  if (rank == 3) return d == 1 ? run.encoded : kUnknownDim;
  if (rank != 2) return 1;
  if (OfEncoder(formal.name)) return run.encoded;
  return absl::StrContains(formal.name, "mask") ? run.past + run.length : run.length;
}

std::optional<int64_t> Scalar(const Graph& graph, const Node& node, size_t input) {
  const Literal* literal = input < node.inputs.size() ? graph.literal(node.inputs[input]) : nullptr;
  if (literal == nullptr || literal->ints.size() != 1) return std::nullopt;
  return literal->ints[0];
}

}  // namespace

ShapeResolver::Types ShapeResolver::ResolveFormal(NodeId id, Graph& body, const FormalDim& dim) {
  std::vector<Type> types;
  for (ValueId input : body.inputs) {
    const Value& formal = body.value(input);
    // The symbols are what is open, even where a run before has set them.
    Type type = Declared(formal);
    for (int d = 0; d < type.rank(); ++d) {
      const bool named = d < static_cast<int>(formal.dim_symbols.size()) && !formal.dim_symbols[d].empty();
      if (!named && type.shape[d] != kUnknownDim) continue;
      const int64_t found = dim(formal, d);
      if (found != kUnknownDim) type.shape[d] = found;
    }
    if (!type.IsResolved()) {
      return Error(id, absl::StrCat("input '", formal.name, "' of its body is ", TypeString(type),
                                    ", expected every dimension known but rows and lengths"));
    }
    types.push_back(std::move(type));
  }
  return ResolveBody(id, body, types);
}

absl::StatusOr<int64_t> ShapeResolver::EncodedLength(NodeId id, const Type& input, int64_t start) {
  RS_ASSIGN_OR_RETURN(Graph * encoder, Subgraph(id, "encoder"));
  const auto dim = [&](const Value& formal, int d) {
    const bool of_decoder = absl::StrContains(formal.name, "decoder");
    if (formal.type.rank() == input.rank() && !of_decoder) return input.shape[d];
    return d == 0 ? input.shape[0] : of_decoder ? start : input.shape.back();
  };
  RS_RETURN_IF_ERROR(ResolveFormal(id, *encoder, dim).status());
  for (int rank : {4, 3}) {
    for (ValueId output : encoder->outputs) {
      const Value& value = encoder->value(output);
      if (value.type.rank() == rank && (rank == 3 ? absl::StrContains(value.name, "hidden") : OfEncoder(value.name))) {
        return value.type.shape[rank - 2];
      }
    }
  }
  return input.shape.back();
}

absl::StatusOr<int64_t> ShapeResolver::SearchTokens(NodeId id, int64_t start) {
  constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();  // max_length is an int32
  if (const auto given = GivenTrips(id)) return std::clamp<int64_t>(*given, 0, kMostTokens);
  const Node& node = graph_.node(id);
  const std::string name = absl::StrCat("'", node.name, "' (", OpKeyString(node.op), ")");
  if (const auto longest = Scalar(graph_, node, 1)) {
    const int64_t tokens = std::max<int64_t>(std::min(*longest, kMostTokens) - start, 0);
    state_.counted.push_back(absl::StrCat(name, ", it makes ", tokens, " tokens and reads its weights once for all"));
    return tokens;
  }
  if (!state_.bindings.assume) {
    return absl::FailedPreconditionError(absl::StrCat(Describe(id), "max_length is not known; --trip-count ", node.name,
                                                      "=N supplies how many tokens it makes"));
  }
  state_.decided.push_back(absl::StrCat(name, " makes one token; --trip-count ", node.name, "=N supplies how many"));
  return 1;
}

absl::StatusOr<Graph*> ShapeResolver::FirstDecoder(NodeId id) {
  if (graph_.node(id).attributes.Has("encoder")) {
    RS_ASSIGN_OR_RETURN(const Graph* encoder, Subgraph(id, "encoder"));
    if (!encoder->outputs.empty() && encoder->value(encoder->outputs[0]).name == "logits") return nullptr;
  }
  if (graph_.node(id).attributes.Has("init_decoder")) return Subgraph(id, "init_decoder");
  if (!graph_.node(id).attributes.Has(kPromptAttribute)) {
    RS_ASSIGN_OR_RETURN(const Graph* decoder, Subgraph(id, "decoder"));
    graph_.subgraphs.push_back(decoder->Clone());
    graph_.node(id).attributes.Set(kPromptAttribute, SubgraphRef{static_cast<int>(graph_.subgraphs.size()) - 1});
  }
  return Subgraph(id, kPromptAttribute);
}

ShapeResolver::Types ShapeResolver::ResolveSearch(NodeId id) {
  const Node node = graph_.node(id);  // bodies are added to the graph below
  const bool beams = absl::StrContains(node.op.type, "Beam");
  const auto input_type = [&](size_t i) {
    return i < node.inputs.size() && node.inputs[i] != kNoValue ? graph_.value(node.inputs[i]).type : Type{};
  };
  const Type prompt = input_type(0);
  if (!prompt.IsResolved() || prompt.rank() < 2) {
    return Error(id, absl::StrCat("input 0 is ", TypeString(prompt), ", expected [batch, length]"));
  }
  const int64_t batch = prompt.shape[0];
  const int64_t width = beams ? Scalar(graph_, node, 3).value_or(1) : 1;
  const int64_t returned = beams ? std::max<int64_t>(Scalar(graph_, node, 4).value_or(1), 1) : 1;
  const auto rows = CheckedMultiply(batch, std::max<int64_t>(width, 1));
  if (!rows) return absl::OutOfRangeError(absl::StrCat(Describe(id), "number of sequences exceeds int64"));

  RunLengths run{.rows = *rows, .length = prompt.shape[1], .past = 0, .encoded = prompt.shape[1]};
  if (node.attributes.Has("encoder")) {
    const Type forced = beams ? input_type(10) : Type{};
    run.length = forced.IsResolved() && forced.rank() == 2 ? forced.shape[1] : 1;
    RS_ASSIGN_OR_RETURN(run.encoded, EncodedLength(id, prompt, run.length));
  }
  const int64_t start = run.length;
  RS_ASSIGN_OR_RETURN(const int64_t tokens, SearchTokens(id, start));
  const auto dim = [&](const Value& formal, int d) { return DecoderDim(run, formal, d); };
  RS_ASSIGN_OR_RETURN(Graph * first, FirstDecoder(id));
  if (first != nullptr) RS_RETURN_IF_ERROR(ResolveFormal(id, *first, dim).status());
  const int64_t rest = std::max<int64_t>(tokens - 1, 0);
  run = {.rows = *rows, .length = 1, .past = start + (rest - std::min<int64_t>(rest, 1)) / 2, .encoded = run.encoded};
  RS_ASSIGN_OR_RETURN(Graph * decoder, Subgraph(id, "decoder"));
  RS_ASSIGN_OR_RETURN(const std::vector<Type> scores, ResolveFormal(id, *decoder, dim));
  graph_.node(id).attributes.Set(kTripCountAttribute, rest);

  const int64_t length = std::max<int64_t>(Scalar(graph_, node, 1).value_or(start + tokens), 0);
  const int64_t vocabulary = scores.empty() || scores[0].rank() < 1 ? 1 : scores[0].shape.back();
  const DType dtype = scores.empty() ? DType::kFloat32 : scores[0].dtype;
  std::vector<Type> types(node.outputs.size());
  types[0] = Type::Tensor(DType::kInt32, beams ? Shape{batch, returned, length} : Shape{batch, length});
  if (types.size() > 1) types[1] = Type::Tensor(dtype, beams ? Shape{batch, returned} : Shape{batch, vocabulary});
  if (types.size() > 2) types[2] = Type::Tensor(dtype, {tokens, batch, std::max<int64_t>(width, 1), vocabulary});
  if (types.size() > 4) types[4] = Type::Tensor(dtype, {batch});
  return types;
}

}  // namespace reusescope
