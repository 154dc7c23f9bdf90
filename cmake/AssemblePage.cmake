# Puts the page of --format html together: cmake -DSOURCE=cli/page -DPLOTLY=plotly.min.js -DOUTPUT=DIR -P AssemblePage.cmake
#
# OUTPUT/page.html is page.html with its style and its scripts in place, in the order of their names; what is left to fill
# in is @DATA@ and @PLOTLY@. OUTPUT/plotly.min.js.gz is the library, packed.
file(GLOB SCRIPTS ${SOURCE}/*.js)
list(SORT SCRIPTS)
set(script "")
foreach(file ${SCRIPTS})
  file(READ ${file} text)
  string(APPEND script "${text}\n")
endforeach()
file(READ ${SOURCE}/page.css style)
file(READ ${SOURCE}/page.html page)
string(REPLACE "@STYLE@" "${style}" page "${page}")
string(REPLACE "@SCRIPT@" "${script}" page "${page}")
file(WRITE ${OUTPUT}/page.html "${page}")
file(ARCHIVE_CREATE OUTPUT ${OUTPUT}/plotly.min.js.gz PATHS ${PLOTLY} FORMAT raw COMPRESSION GZip COMPRESSION_LEVEL 9)
