// Unique names for the nodes of one graph: the file's where it gives one that nobody else has.
//
//   NodeNamer namer;  for each node: namer.Reserve("conv1");
//   namer.Name(0, "conv1", "Conv") -> "conv1"    namer.Name(3, "", "Conv") -> "Conv_3"
//   namer.Name(1, "conv1", "Conv") -> "conv1_1"

#ifndef REUSESCOPE_IMPORTER_NODE_NAMER_H_
#define REUSESCOPE_IMPORTER_NODE_NAMER_H_

#include <algorithm>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace reusescope {

class NodeNamer {
 public:
  // A name that some node of the file asks for, so that no made-up name takes it away.
  void Reserve(absl::string_view name) { next_.try_emplace(name, kReserved); }

  // The name of the node at `index` of the file, which asks for `given` ("" for none) and runs operator `op_type`.
  std::string Name(int index, absl::string_view given, absl::string_view op_type) {
    const std::string base = given.empty() ? absl::StrCat(op_type, "_", index) : std::string(given);
    const auto [it, fresh] = next_.try_emplace(base, 1);
    if (!given.empty() && it->second == kReserved) {
      it->second = 1;
      return base;
    }
    if (fresh) return base;
    for (int number = std::max(it->second, 1);; ++number) {
      std::string name = absl::StrCat(base, "_", number);
      if (!next_.try_emplace(name, 1).second) continue;
      next_[base] = std::max(number + 1, next_[base]);
      return name;
    }
  }

 private:
  static constexpr int kReserved = 0;
  // For every name that is asked for (kReserved) or taken, the number that its next namesake tries first.
  absl::flat_hash_map<std::string, int> next_;
};

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_NODE_NAMER_H_
