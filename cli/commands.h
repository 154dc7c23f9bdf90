// The subcommands, one file each. Every function adds one to the app; when the command line selects it, `action` is
// set.

#ifndef REUSESCOPE_CLI_COMMANDS_H_
#define REUSESCOPE_CLI_COMMANDS_H_

#include <string>

#include "cli/app.h"

namespace reusescope::cli {

void AddAnalyzeCommand(CLI::App& app, Action& action);        // analyze_command.cc
void AddAuditCommand(CLI::App& app, Action& action);          // audit_command.cc
void AddCompareCommand(CLI::App& app, Action& action);        // compare_command.cc
void AddAnnotateCommand(CLI::App& app, Action& action);       // annotate_command.cc
void AddSweepCommand(CLI::App& app, Action& action);          // sweep_command.cc
void AddSerializeCommand(CLI::App& app, Action& action);      // serialize_command.cc
void AddPlanCommand(CLI::App& app, Action& action);           // plan_command.cc
void AddGraphCommand(CLI::App& app, Action& action);          // graph_command.cc
void AddDifferentiateCommand(CLI::App& app, Action& action);  // differentiate_command.cc
void AddDevicesCommand(CLI::App& app, Action& action);        // devices_command.cc
void AddDoctorCommand(CLI::App& app, Action& action);         // doctor_command.cc
void AddOpsCommand(CLI::App& app, Action& action);            // ops_command.cc
void AddExplainCommand(CLI::App& app, Action& action);        // explain_command.cc
void AddCompletionCommand(CLI::App& app, Action& action);     // completion_command.cc

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_COMMANDS_H_
