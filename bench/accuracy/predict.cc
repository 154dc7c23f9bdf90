#include "bench/accuracy/predict.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "analysis/ir/status_util.h"
#include "analysis/measure/roofline.h"
#include "analysis/pipeline.h"
#include "hwdb/hardware.h"
#include "importer/load_model.h"

namespace reusescope::accuracy {
namespace {

struct DeviceName {
  absl::string_view part;  // of the row's gpu
  const char* device;      // in hwdb/
};

// The first that matches.
constexpr DeviceName kDevices[] = {
    {"K80", "k80"},
    {"Titan V", "titan-v"},
    {"2080 Ti", "rtx-2080-ti"},
    {"RTX 3090", "rtx-3090"},
    {"A6000", "rtx-a6000"},
    {"A40", "a40"},
    {"A100-SXM4-40GB", "a100-sxm-40gb"},
    {"A100-SXM4-80GB", "a100-sxm-80gb"},
    {"A100-SXM-80GB", "a100-sxm-80gb"},
    {"A100-PCIE-40GB", "a100-pcie-40gb"},
    {"A100-PCIE-80GB", "a100-pcie-80gb"},
    {"A100 80GB PCIe", "a100-pcie-80gb"},
    {"A10", "a10"},
    {"V100-PCIE-32GB", "v100-pcie-32gb"},
    {"V100-SXM2-32GB", "v100-sxm2-32gb"},
    {"V100-SXM3-32GB", "v100-sxm2-32gb"},
    {"V100 32GB", "v100-sxm2-32gb"},
    {"V100", "v100-sxm2-16gb"},
    {"P100-PCIE-16GB", "p100-pcie-16gb"},
    {"P100 (DGX-1)", "p100-sxm2"},
    {"P4", "p4"},
    {"T4", "t4"},
};

struct ModelFile {
  absl::string_view name;  // the row's export, with "/384" where the sequence length matters
  const char* path;
  // Rebuild what the exporter took apart, as the kernels that eager PyTorch launches? Not GPT-2's GELU: Hugging Face
  // writes it out (gelu_new), so that eager PyTorch runs its eight kernels one by one, as they stand in the export.
  bool recognize = true;
};

constexpr ModelFile kModels[] = {
    {"alexnet", "models/alexnet.ts11.eval.onnx"},
    {"bert_base/384", "bench/accuracy/models/bert_base.seq384.onnx"},
    {"bert_large/384", "bench/accuracy/models/bert_large.seq384.onnx"},
    {"bert_large/512", "bench/accuracy/models/bert_large.dynamo18.eval.onnx"},
    {"bert_large/512/pretraining", "bench/accuracy/models/bert_large.pretraining.onnx"},
    {"gpt2_large/1024", "bench/accuracy/models/gpt2_large.dynamo18.eval.onnx", false},
    {"opt_13/2048", "bench/accuracy/models/opt_13.dynamo18.eval.onnx"},
    {"convnext_tiny", "models/convnext_tiny.dynamo18.eval.onnx"},
    {"densenet121", "models/densenet121.ts17.train.onnx"},
    {"efficientnet_b0", "models/efficientnet_b0.dynamo18.eval.onnx"},
    {"inception_v3", "models/inception_v3.ts17.train.onnx"},
    {"mobilenet_v2", "models/mobilenet_v2.ts17.train.onnx"},
    {"resnet152", "models/resnet152.ts17.train.onnx"},
    {"resnet18", "models/resnet18.onnx"},
    {"resnet50", "models/resnet50.onnx"},
    {"swin_t", "models/swin_t.dynamo18.eval.onnx"},
    {"vgg16", "models/vgg16.onnx"},
    {"vit_b_16", "models/vit_b_16.ts17.train.onnx"},
};

std::string DeviceOf(absl::string_view gpu) {
  for (const DeviceName& row : kDevices) {
    if (absl::StrContains(gpu, row.part)) return row.device;
  }
  return "";
}

const ModelFile* FileOf(const CsvRow& row) {
  const std::string& name = row.at("export");
  const std::vector<std::string> length = absl::StrSplit(row.at("seq_or_res"), absl::MaxSplits(' ', 1));
  const bool pretraining = absl::StrContains(row.at("notes"), "MLM+NSP");
  const std::string with_length = absl::StrCat(name, "/", length[0], pretraining ? "/pretraining" : "");
  for (const ModelFile& model : kModels) {
    if (model.name == name || model.name == with_length) return &model;
  }
  return nullptr;
}

PrecisionMode PrecisionOf(absl::string_view text) {
  if (absl::StrContains(text, "half")) return PrecisionMode::kFp16;
  if (absl::StartsWith(text, "FP16") || absl::StartsWith(text, "AMP")) return PrecisionMode::kAmpFp16;
  return absl::StartsWith(text, "TF32") ? PrecisionMode::kTf32 : PrecisionMode::kFp32;
}

bool UpdateIsTimed(absl::string_view region) {
  return !absl::StrContains(region, "no optimizer") && !absl::StrContains(region, "pair");
}

// Cost tables by file, batch, mode and width of values: many rows share one.
class Workloads {
 public:
  explicit Workloads(std::string root) : root_(std::move(root)) {}

  absl::StatusOr<const CostTable*> Cost(const ModelFile& model_file, int64_t batch, Mode mode,
                                        PrecisionMode precision) {
    const std::string file = model_file.path;
    const auto key = std::tuple(file, batch, mode, precision);
    if (const auto known = costs_.find(key); known != costs_.end()) return &known->second;
    AnalysisOptions options{
        .shapes = {.batch = batch}, .mode = mode, .precision = precision, .recognize = model_file.recognize};
    const bool bert = absl::StrContains(file, "bert");
    options.optimizer = bert ? Optimizer::kAdam : Optimizer::kMomentum;
    // Cut off at the encoder's last value, it has no logits that a loss could read.
    if (absl::StrContains(file, "bert_base")) options.loss = Loss::kNone;
    std::vector<std::string> notes;
    RS_ASSIGN_OR_RETURN(Model model, LoadModel(absl::StrCat(root_, "/", file)));
    RS_ASSIGN_OR_RETURN(const TrainingGraph training, BuildGraph(std::move(model), options, Stage::kOptimizer, notes));
    RS_ASSIGN_OR_RETURN(CostTable cost, ComputeCost(training, {.precision = precision}));
    return &costs_.emplace(key, std::move(cost)).first->second;
  }

 private:
  std::string root_;
  std::map<std::tuple<std::string, int64_t, Mode, PrecisionMode>, CostTable> costs_;
};

std::string KindOf(const CsvRow& row, PrecisionMode precision) {
  const bool narrow = precision == PrecisionMode::kFp16 || precision == PrecisionMode::kAmpFp16;
  return absl::StrCat(row.at("mode"), " ", narrow ? "fp16" : PrecisionName(precision));
}

absl::Status PredictStep(Workloads& workloads, Prediction& prediction) {
  const CsvRow& row = prediction.row;
  const ModelFile* file = FileOf(row);
  prediction.device = DeviceOf(row.at("gpu"));
  if (file == nullptr) prediction.skipped = absl::StrCat("no file of ", row.at("export"), " ", row.at("seq_or_res"));
  if (prediction.device.empty()) prediction.skipped = absl::StrCat("no device ", row.at("gpu"));
  if (!prediction.skipped.empty()) return absl::OkStatus();

  const PrecisionMode precision = PrecisionOf(row.at("precision"));
  const Mode mode = row.at("mode") == "inference" ? Mode::kInference : Mode::kTraining;
  prediction.kind = KindOf(row, precision);
  RS_ASSIGN_OR_RETURN(const Hardware hardware, FindDevice(prediction.device));
  const absl::StatusOr<RooflineDevice> rates = RatesOf(hardware, precision, {});
  if (!rates.ok()) {
    prediction.skipped = std::string(rates.status().message());
    return absl::OkStatus();
  }
  const int64_t batch = std::atoll(row.at("batch").c_str());
  RS_ASSIGN_OR_RETURN(const CostTable* cost, workloads.Cost(*file, batch, mode, precision));
  RS_ASSIGN_OR_RETURN(const StepTime step, HeadlineStep(*cost, *rates, {.batch = batch}));
  const double update = step.phases[static_cast<int>(Phase::kUpdate)].seconds;
  prediction.predicted = 1e3 * (UpdateIsTimed(row.at("timed_region")) ? step.step_seconds : step.step_seconds - update);
  return absl::OkStatus();
}

// "2D images per GPU = 64".
int64_t ImagesOf(const std::string& notes) {
  const size_t at = notes.find("2D images per GPU = ");
  return at == std::string::npos ? 0 : std::atoll(notes.c_str() + at + 20);
}

double Quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

absl::StatusOr<std::vector<Prediction>> PredictSteps(const std::string& root) {
  RS_ASSIGN_OR_RETURN(std::vector<CsvRow> rows, ReadCsv(root + "/bench/accuracy/steps.csv"));
  Workloads workloads(root);
  std::vector<Prediction> predictions;
  for (CsvRow& row : rows) {
    Prediction prediction{.row = std::move(row)};
    prediction.measured = std::atof(prediction.row.at("ms_per_step").c_str());
    const std::string& other = prediction.row.at("roofline_ms");
    if (!other.empty()) prediction.other_roofline = std::atof(other.c_str());
    RS_RETURN_IF_ERROR(PredictStep(workloads, prediction));
    predictions.push_back(std::move(prediction));
  }
  return predictions;
}

absl::StatusOr<std::vector<Prediction>> PredictMemory(const std::string& root) {
  RS_ASSIGN_OR_RETURN(std::vector<CsvRow> rows, ReadCsv(root + "/bench/accuracy/memory.csv"));
  std::vector<Prediction> predictions;
  for (CsvRow& row : rows) {
    Prediction prediction{.row = std::move(row), .kind = "memory"};
    const CsvRow& r = prediction.row;
    prediction.measured = std::atof(r.at("peak_mib").c_str());
    const int64_t images = ImagesOf(r.at("notes"));
    if (images == 0 || prediction.measured == 0) {
      prediction.skipped = absl::StrCat("no file of ", r.at("model"));
    } else {
      prediction.device = "any";
      const AnalysisOptions options{.shapes = {.batch = images}, .optimizer = Optimizer::kMomentum};
      RS_ASSIGN_OR_RETURN(Model model, LoadModel(root + "/models/resnet50.onnx"));
      std::vector<std::string> notes;
      RS_ASSIGN_OR_RETURN(const TrainingGraph training,
                          BuildGraph(std::move(model), options, Stage::kOptimizer, notes));
      RS_ASSIGN_OR_RETURN(const CostTable cost, ComputeCost(training, {}));
      RS_ASSIGN_OR_RETURN(const MemoryTable memory, ComputeMemory(training, cost, {}));
      prediction.predicted = static_cast<double>(memory.peak_bytes) / (1 << 20);
    }
    predictions.push_back(std::move(prediction));
  }
  return predictions;
}

Summary Summarize(absl::Span<const Prediction> predictions) {
  Summary summary;
  std::vector<double> ratios;
  for (const Prediction& prediction : predictions) {
    if (!prediction.skipped.empty()) continue;
    const double error = prediction.error();
    summary.mean_error += std::abs(error);
    if (std::abs(error) > std::abs(summary.worst_error)) summary.worst_error = error;
    ratios.push_back(prediction.measured / prediction.predicted);
  }
  summary.rows = static_cast<int>(ratios.size());
  if (ratios.empty()) return summary;
  std::sort(ratios.begin(), ratios.end());
  summary.mean_error /= summary.rows;
  summary.low_ratio = Quantile(ratios, 0.1);
  summary.median_ratio = Quantile(ratios, 0.5);
  summary.high_ratio = Quantile(ratios, 0.9);
  return summary;
}

std::map<std::string, std::vector<Prediction>> GroupBy(absl::Span<const Prediction> predictions,
                                                       const std::string& column) {
  std::map<std::string, std::vector<Prediction>> groups;
  for (const Prediction& prediction : predictions) {
    if (!prediction.skipped.empty()) continue;
    const std::string& key = column == "device" ? prediction.device
                             : column == "kind" ? prediction.kind
                                                : prediction.row.at(column);
    groups[key].push_back(prediction);
  }
  return groups;
}

}  // namespace reusescope::accuracy
