#include "cli/views/html.h"

#define ZLIB_CONST  // what it reads is const
#include <zlib.h>

#include <cstddef>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"

// What CMake made of cli/page/ and plotly.js, taken into the program as it is.
asm(".section .rodata\n"
    ".global reusescope_page, reusescope_page_end, reusescope_plotly, reusescope_plotly_end\n"
    "reusescope_page: .incbin \"" REUSESCOPE_PAGE
    "/page.html\"\n"
    "reusescope_page_end:\n"
    "reusescope_plotly: .incbin \"" REUSESCOPE_PAGE
    "/plotly.min.js.gz\"\n"
    "reusescope_plotly_end:\n"
    ".previous\n");
extern "C" const char reusescope_page[], reusescope_page_end[], reusescope_plotly[], reusescope_plotly_end[];

namespace reusescope::cli {
namespace {

absl::string_view Between(const char* begin, const char* end) { return {begin, static_cast<size_t>(end - begin)}; }

// As the browser's DecompressionStream reads it. The fastest level: a page is written once and read from a disk.
std::string Gzip(absl::string_view text) {
  constexpr int kGzipWindow = 15 + 16, kMemoryLevel = 9;
  z_stream stream = {};
  deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindow, kMemoryLevel, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<const Bytef*>(text.data());
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace

std::string RenderHtml(absl::string_view json) {
  return absl::StrReplaceAll(Between(reusescope_page, reusescope_page_end),
                             {{"@DATA@", absl::Base64Escape(Gzip(json))},
                              {"@PLOTLY@", absl::Base64Escape(Between(reusescope_plotly, reusescope_plotly_end))}});
}

}  // namespace reusescope::cli
