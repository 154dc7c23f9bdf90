// Prints predictions beside measurements: every row, then mean and worst error by kind, device and model.
//
//   build/release/bench/accuracy            tables in Markdown
//   build/release/bench/accuracy --rows     every row as well

#include <cstdio>
#include <cstring>
#include <string>

#include "bench/accuracy/predict.h"
#include "fmt/format.h"

namespace reusescope::accuracy {
namespace {

void PrintSummary(const std::string& name, const Summary& s) {
  fmt::print("| {} | {} | {:.0f} % | {:+.0f} % | {:.2f} | {:.2f} | {:.2f} |\n", name, s.rows, 100 * s.mean_error,
             100 * s.worst_error, s.low_ratio, s.median_ratio, s.high_ratio);
}

void PrintGroups(const std::vector<Prediction>& predictions, const std::string& column) {
  fmt::print("\n| {} | rows | mean error | worst | measured/predicted, 10 % | median | 90 % |\n", column);
  fmt::print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  for (const auto& [name, group] : GroupBy(predictions, column)) PrintSummary(name, Summarize(group));
  PrintSummary("all", Summarize(predictions));
}

void PrintRows(const std::vector<Prediction>& predictions, const std::string& model, const std::string& batch) {
  fmt::print("\n| model | device | kind | batch | measured | predicted | error |\n");
  fmt::print("| --- | --- | --- | ---: | ---: | ---: | ---: |\n");
  for (const Prediction& p : predictions) {
    if (!p.skipped.empty()) {
      fmt::print("| {} | | | {} | {} | - | {} |\n", p.row.at(model), p.row.at(batch), p.measured, p.skipped);
      continue;
    }
    fmt::print("| {} | {} | {} | {} | {:.4g} | {:.4g} | {:+.0f} % |\n", p.row.at(model), p.device, p.kind,
               p.row.at(batch), p.measured, p.predicted, 100 * p.error());
  }
}

// On the rows that carry the roofline of another program.
void PrintAgainstOthers(const std::vector<Prediction>& predictions) {
  std::vector<Prediction> ours, others;
  for (const Prediction& p : predictions) {
    if (!p.skipped.empty() || !p.other_roofline.has_value()) continue;
    ours.push_back(p);
    others.push_back(p);
    others.back().predicted = *p.other_roofline;
  }
  fmt::print("\n| roofline of | rows | mean error | worst | measured/predicted, 10 % | median | 90 % |\n");
  fmt::print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  PrintSummary("ReuseScope", Summarize(ours));
  PrintSummary("NeuSight's authors", Summarize(others));
}

int Main(bool rows) {
  const absl::StatusOr<std::vector<Prediction>> steps = PredictSteps(REUSESCOPE_SOURCE_DIR);
  const absl::StatusOr<std::vector<Prediction>> memory = PredictMemory(REUSESCOPE_SOURCE_DIR);
  for (const auto* result : {&steps, &memory}) {
    if (result->ok()) continue;
    fmt::print(stderr, "accuracy: {}\n", std::string(result->status().message()));
    return 1;
  }
  fmt::print("## Step times, ms\n");
  if (rows) PrintRows(*steps, "export", "batch");
  for (const char* column : {"kind", "device", "export", "framework"}) PrintGroups(*steps, column);
  PrintAgainstOthers(*steps);
  fmt::print("\n## Peak memory, MiB\n");
  if (rows) PrintRows(*memory, "model", "batch_per_gpu");
  PrintGroups(*memory, "kind");
  return 0;
}

}  // namespace
}  // namespace reusescope::accuracy

int main(int argc, char** argv) { return reusescope::accuracy::Main(argc > 1 && std::strcmp(argv[1], "--rows") == 0); }
