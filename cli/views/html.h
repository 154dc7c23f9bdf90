// The report as a page: one file for a browser that needs no network.
//
//   text = RenderHtml(RenderJson(report));      // or RenderAuditJson(...), RenderCompareJson(...)
//
// Everything the page shows is in that JSON: it is embedded as it is (gzip, base64), beside plotly.js (MIT) and the
// page's own code (cli/page/), which draws what the JSON's "schema" says it is. No name out of a model's file is part
// of the HTML; the code sets them as text.

#ifndef REUSESCOPE_CLI_VIEWS_HTML_H_
#define REUSESCOPE_CLI_VIEWS_HTML_H_

#include <string>

#include "absl/strings/string_view.h"

namespace reusescope::cli {

std::string RenderHtml(absl::string_view json);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VIEWS_HTML_H_
