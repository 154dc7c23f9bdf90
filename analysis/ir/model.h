// A model file as loaded: the graph and what the file says of itself.

#ifndef REUSESCOPE_ANALYSIS_IR_MODEL_H_
#define REUSESCOPE_ANALYSIS_IR_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "analysis/ir/graph.h"

namespace reusescope {

// A model-local function: its body is a graph whose inputs and outputs are the formal parameters.
struct Function {
  std::string domain, name, overload;
  std::vector<std::string> attributes;  // declared without default
  Attributes defaults;                  // declared with one
  std::unique_ptr<Graph> body;
};

struct Model {
  std::string file;
  std::string producer;  // "pytorch 2.13.0"
  int64_t ir_version = 0;
  Graph graph;
  std::vector<Function> functions;
  // Odd but harmless things that loading met, for the report: "3 nodes were not in topological order".
  std::vector<std::string> warnings;
  // Of a training graph that this program wrote: the flags that it was written with ("--loss=mse").
  std::vector<std::string> arguments;
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_IR_MODEL_H_
