// What is wrong or odd with a model file, and what to do about it.
//
//   for (const Finding& finding : Diagnose(std::move(model))) ...
//     warning  opset 30 of ai.onnx is newer than 28          build ReuseScope with a newer ONNX, or export at opset 28
//     note     dimension 'sequence' of 'ids' is open         --dim sequence=N binds it
//
// Looked at: what loading met, opsets, open dimensions, whether every shape comes out, operators without a rule, loops
// and branches that data decide, batch normalizations that an export for inference has folded.

#ifndef REUSESCOPE_ANALYSIS_DIAGNOSE_H_
#define REUSESCOPE_ANALYSIS_DIAGNOSE_H_

#include <string>
#include <vector>

#include "analysis/ir/model.h"

namespace reusescope {

// kError: analysis fails. kWarning: its numbers leave something out, or rest on a guess. kNote: good to know.
enum class Severity : uint8_t { kError, kWarning, kNote };
absl::string_view SeverityName(Severity severity);

struct Finding {
  Severity severity;
  std::string what, advice;
};

// The worst first. Without findings, the file is as good as files get.
std::vector<Finding> Diagnose(Model model);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_DIAGNOSE_H_
