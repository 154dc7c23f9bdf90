#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "analysis/ops/resampling.h"

namespace reusescope {
namespace {

struct Axis {
  int64_t in, out;
  double scale;
};

// Scales are input 2, or follow from the sizes.
Axis AxisOfResize(const OpContext& resize, int d) {
  Axis axis{resize.InShape(0)[d], resize.OutShape(0)[d], 0};
  axis.scale = axis.in == 0 ? 1 : static_cast<double>(axis.out) / static_cast<double>(axis.in);
  const Literal* scales = resize.InLiteral(2);
  const auto axes = resize.attributes().Ints("axes");
  int at = d;
  if (!axes.empty()) {
    const int rank = resize.InType(0).rank();
    const auto found = std::find_if(axes.begin(), axes.end(), [&](int64_t a) { return (a < 0 ? a + rank : a) == d; });
    at = found == axes.end() ? -1 : static_cast<int>(found - axes.begin());
  }
  if (scales != nullptr && scales->has_data && at >= 0 && at < scales->size()) axis.scale = scales->AsDouble(at);
  return axis;
}

// Where output position `x` lies on the input axis.
double Coordinate(absl::string_view mode, double x, const Axis& axis) {
  if (mode == "asymmetric") return x / axis.scale;
  if (mode == "align_corners") {
    return axis.out == 1 ? 0 : x * static_cast<double>(axis.in - 1) / static_cast<double>(axis.out - 1);
  }
  if (mode == "pytorch_half_pixel" && axis.out == 1) return 0;
  const double centered = (x + 0.5) / axis.scale - 0.5;
  if (mode != "half_pixel_symmetric") return centered;
  const double adjusted = static_cast<double>(axis.out) / (axis.scale * static_cast<double>(axis.in));
  const double center = static_cast<double>(axis.in) / 2;
  return center * (1 - adjusted) + centered;
}

int64_t Nearest(absl::string_view mode, double x) {
  if (mode == "floor") return static_cast<int64_t>(std::floor(x));
  if (mode == "ceil") return static_cast<int64_t>(std::ceil(x));
  const double lower = std::floor(x);
  const bool half = x - lower == 0.5;
  if (mode == "round_prefer_ceil") return static_cast<int64_t>(half ? lower + 1 : std::round(x));
  return static_cast<int64_t>(half ? lower : std::round(x));
}

double CubicWeight(double a, double t) {
  t = std::abs(t);
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

// Weights of the taps around `x`, by input position (which may lie outside; the edge stands for that).
std::vector<ResizeTap> TapsAround(const OpContext& resize, int64_t output, double x, const Axis& axis) {
  const bool cubic = resize.attributes().String("mode", "nearest") == "cubic";
  const double a = resize.attributes().Float("cubic_coeff_a", -0.75);
  // With antialiasing, a window as wide as what one output stands for.
  const bool antialias = resize.attributes().Int("antialias", 0) != 0;
  const double shrink = antialias && axis.scale < 1 ? axis.scale : 1;
  const double reach = (cubic ? 2 : 1) / shrink;
  const bool exclude = resize.attributes().Int("exclude_outside", 0) != 0;
  std::vector<ResizeTap> taps;
  double sum = 0;
  for (auto i = static_cast<int64_t>(std::floor(x - reach)); i <= static_cast<int64_t>(std::ceil(x + reach)); ++i) {
    const double t = (static_cast<double>(i) - x) * shrink;
    const double weight = cubic ? CubicWeight(a, t) : std::max(0.0, 1 - std::abs(t));
    if (weight == 0 || (exclude && (i < 0 || i >= axis.in))) continue;
    taps.push_back({output, std::clamp<int64_t>(i, 0, axis.in - 1), weight});
    sum += weight;
  }
  if ((exclude || antialias) && sum != 0) {
    for (ResizeTap& tap : taps) tap.weight /= sum;
  }
  return taps;
}

}  // namespace

absl::StatusOr<std::vector<ResizeTap>> ResizeTapsOf(const OpContext& resize, int d) {
  const Axis axis = AxisOfResize(resize, d);
  std::vector<ResizeTap> taps;
  if (axis.in == axis.out && axis.scale == 1) return taps;
  // Upsample, Resize's predecessor, has no such attribute and takes coordinates as they are.
  const bool upsample = resize.node().op.type == "Upsample";
  const absl::string_view mode =
      resize.attributes().String("coordinate_transformation_mode", upsample ? "asymmetric" : "half_pixel");
  if (mode == "tf_crop_and_resize") {
    return resize.Error("crops to a region of interest (tf_crop_and_resize), expected another coordinate mode");
  }
  const absl::string_view nearest =
      resize.attributes().String("nearest_mode", upsample ? "floor" : "round_prefer_floor");
  for (int64_t o = 0; o < axis.out; ++o) {
    const double x = Coordinate(mode, static_cast<double>(o), axis);
    if (resize.attributes().String("mode", "nearest") == "nearest") {
      taps.push_back({o, std::clamp<int64_t>(Nearest(nearest, x), 0, axis.in - 1), 1});
    } else {
      const std::vector<ResizeTap> around = TapsAround(resize, o, x, axis);
      taps.insert(taps.end(), around.begin(), around.end());
    }
  }
  return taps;
}

}  // namespace reusescope
