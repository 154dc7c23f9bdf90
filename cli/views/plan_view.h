// A checkpoint plan for people and for programs.

#ifndef REUSESCOPE_CLI_VIEWS_PLAN_VIEW_H_
#define REUSESCOPE_CLI_VIEWS_PLAN_VIEW_H_

#include <string>
#include <vector>

#include "cli/plan.h"
#include "cli/views/sections.h"

namespace reusescope::cli {

// The plan, the methods side by side, and what memory costs in time.
std::vector<Section> PlanSections(const PlanReport& report);

// {"schema": "reusescope.plan/1", ...}: see cli/plan.schema.json. What --checkpoint=@FILE reads.
std::string RenderPlanJson(const PlanReport& report);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VIEWS_PLAN_VIEW_H_
