#include "analysis/ops/einsum.h"

#include <algorithm>
#include <array>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/lower_context.h"

namespace reusescope {
namespace {

constexpr absl::string_view kEllipsis = "...";

class EinsumParser {
 public:
  explicit EinsumParser(const OpContext& ctx) : ctx_(ctx) { label_of_.fill(-1); }

  absl::StatusOr<EinsumEquation> Parse() {
    const std::string text = absl::StrReplaceAll(ctx_.attributes().String("equation", ""), {{" ", ""}});
    const std::pair<absl::string_view, absl::string_view> sides = absl::StrSplit(text, absl::MaxSplits("->", 1));
    const std::vector<absl::string_view> terms = absl::StrSplit(sides.first, ',');
    if (static_cast<int>(terms.size()) != ctx_.num_inputs()) {
      return ctx_.Error(
          absl::StrCat("equation '", text, "' has ", terms.size(), " operands, found ", ctx_.num_inputs(), " inputs"));
    }
    for (int i = 0; i < ctx_.num_inputs(); ++i) RS_RETURN_IF_ERROR(AddOperand(terms[i], i));
    if (text.find("->") == std::string::npos) {
      AddImplicitOutput();
      return equation_;
    }
    RS_RETURN_IF_ERROR(AddExplicitOutput(sides.second));
    return equation_;
  }

 private:
  // The label of a letter or of ellipsis dimension `name`, widened to `extent`.
  absl::Status Use(char name, int64_t extent, std::vector<int>& dims) {
    int& label = label_of_[static_cast<unsigned char>(name)];
    if (label < 0) {
      label = static_cast<int>(equation_.labels.size());
      equation_.labels.push_back({name, extent});
      uses_.push_back(0);
    }
    EinsumLabel& known = equation_.labels[label];
    if (known.extent == 1 || known.extent == kUnknownDim) known.extent = extent;
    if (extent != known.extent && extent != 1 && extent != kUnknownDim) {
      return ctx_.Error(absl::StrCat("label '", std::string(1, name), "' is ", known.extent, " in one operand and ",
                                     extent, " in another"));
    }
    ++uses_[label];
    dims.push_back(label);
    return absl::OkStatus();
  }

  // Ellipsis dimensions are numbered from the right: '0' is the last.
  static char EllipsisName(int from_right) { return static_cast<char>('0' + from_right); }

  absl::Status AddOperand(absl::string_view term, int i) {
    if (!ctx_.HasInput(i)) return ctx_.Error(absl::StrCat("input ", i, " is missing"));
    const Shape& shape = ctx_.InShape(i);
    const size_t dots = term.find(kEllipsis);
    const int letters = static_cast<int>(term.size()) - (dots == absl::string_view::npos ? 0 : 3);
    const int hidden = static_cast<int>(shape.size()) - letters;
    if (hidden < 0 || hidden > 10 || (hidden > 0 && dots == absl::string_view::npos)) {
      return ctx_.Error(absl::StrCat("term '", term, "' does not fit input ", i, " of shape ", ShapeString(shape)));
    }
    ellipsis_dims_ = std::max(ellipsis_dims_, dots == absl::string_view::npos ? 0 : hidden);
    std::vector<int> dims;
    size_t d = 0;
    for (size_t at = 0; at < term.size(); ++at) {
      if (at == dots) {
        for (int h = hidden - 1; h >= 0; --h) RS_RETURN_IF_ERROR(Use(EllipsisName(h), shape[d++], dims));
        at += kEllipsis.size() - 1;
        continue;
      }
      if (!absl::ascii_isalpha(static_cast<unsigned char>(term[at]))) {
        return ctx_.Error(absl::StrCat("term '", term, "' has '", term.substr(at, 1), "', expected a letter"));
      }
      RS_RETURN_IF_ERROR(Use(term[at], shape[d++], dims));
    }
    equation_.inputs.push_back(std::move(dims));
    return absl::OkStatus();
  }

  void AddImplicitOutput() {
    for (int h = ellipsis_dims_ - 1; h >= 0; --h) equation_.output.push_back(label_of_[EllipsisName(h)]);
    for (int c = 'A'; c <= 'z'; ++c) {
      if (label_of_[c] >= 0 && uses_[label_of_[c]] == 1) equation_.output.push_back(label_of_[c]);
    }
  }

  absl::Status AddExplicitOutput(absl::string_view term) {
    for (size_t at = 0; at < term.size(); ++at) {
      if (term.substr(at, 3) == kEllipsis) {
        for (int h = ellipsis_dims_ - 1; h >= 0; --h) equation_.output.push_back(label_of_[EllipsisName(h)]);
        at += kEllipsis.size() - 1;
        continue;
      }
      const auto c = static_cast<unsigned char>(term[at]);
      if (!absl::ascii_isalpha(c) || label_of_[c] < 0) {
        return ctx_.Error(absl::StrCat("output label '", term.substr(at, 1), "' is in no operand"));
      }
      equation_.output.push_back(label_of_[c]);
    }
    return absl::OkStatus();
  }

  const OpContext& ctx_;
  EinsumEquation equation_;
  std::array<int, 256> label_of_;
  std::vector<int> uses_;
  int ellipsis_dims_ = 0;
};

}  // namespace

absl::StatusOr<EinsumEquation> ParseEinsum(const OpContext& ctx) { return EinsumParser(ctx).Parse(); }

absl::Status LowerLongEinsum(LowerContext& ctx) {
  const OpContext node = ctx.node();
  const int operands = node.num_inputs();
  if (operands < 3) return absl::OkStatus();
  RS_ASSIGN_OR_RETURN(const EinsumEquation equation, ParseEinsum(node));
  // Labels that the operands from i on, or the output, still need.
  std::vector<int> last_use(equation.labels.size(), -1);
  for (int i = 0; i < operands; ++i) {
    for (int label : equation.inputs[i]) last_use[label] = i;
  }
  for (int label : equation.output) last_use[label] = operands;
  const Type out = node.OutType(0);
  // Within a chain every label gets a letter of its own, so ellipsis dimensions need no special form.
  const auto letters = [](const std::vector<int>& labels) {
    std::string text;
    for (int label : labels) text.push_back(static_cast<char>(label < 26 ? 'a' + label : 'A' + label - 26));
    return text;
  };
  ValueId left = ctx.I(0);
  std::vector<int> left_labels = equation.inputs[0];
  for (int i = 1; i < operands; ++i) {
    std::vector<int> result;
    if (i == operands - 1) {
      result = equation.output;
    } else {
      for (const std::vector<int>* labels : {static_cast<const std::vector<int>*>(&left_labels), &equation.inputs[i]}) {
        for (int label : *labels) {
          const bool listed = std::find(result.begin(), result.end(), label) != result.end();
          if (last_use[label] > i && !listed) result.push_back(label);
        }
      }
    }
    Shape shape;
    for (int label : result) shape.push_back(equation.labels[label].extent);
    Attributes attributes;
    attributes.Set("equation",
                   absl::StrCat(letters(left_labels), ",", letters(equation.inputs[i]), "->", letters(result)));
    left = ctx.Emit("Einsum", {left, ctx.I(i)}, Type::Tensor(out.dtype, shape), std::move(attributes));
    left_labels = std::move(result);
  }
  ctx.ReplaceOutput(0, left);
  return absl::OkStatus();
}

}  // namespace reusescope
