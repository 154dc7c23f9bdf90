// The faces of an audit: for people, for a document, for a program.

#ifndef REUSESCOPE_CLI_VIEWS_AUDIT_VIEW_H_
#define REUSESCOPE_CLI_VIEWS_AUDIT_VIEW_H_

#include <string>
#include <vector>

#include "cli/audit.h"
#include "cli/views/sections.h"

namespace reusescope::cli {

// Models, ranking with the Pareto front marked, what would help, what fell out and why, how far to trust it. `top`
// rows.
std::vector<Section> AuditSections(const AuditReport& report, int top);

// {"schema": "reusescope.audit/1", ...}: see cli/audit.schema.json.
std::string RenderAuditJson(const AuditReport& report);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VIEWS_AUDIT_VIEW_H_
