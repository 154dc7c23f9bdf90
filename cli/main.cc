#include "cli/app.h"

int main(int argc, char** argv) { return reusescope::cli::Run(argc, argv); }
