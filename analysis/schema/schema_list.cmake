# Writes one line per operator schema of ONNX, read out of its operator_sets headers, which name each in an expression
#   fn(GetOpSchema<ONNX_OPERATOR_SET_SCHEMA_CLASS_NAME(Onnx, 11, Conv)>());
# as REUSESCOPE_SCHEMA(Onnx, 11, Conv, <class>): then a schema can be built by name, when it is needed.
function(reusescope_schema_list output)
  get_target_property(include_dirs ONNX::onnx INTERFACE_INCLUDE_DIRECTORIES)
  string(REGEX REPLACE "\\$<(BUILD|INSTALL)_INTERFACE:([^>]*)>" "\\2" include_dirs "${include_dirs}")
  find_path(ONNX_HEADERS onnx/defs/operator_sets.h PATHS ${include_dirs} NO_DEFAULT_PATH REQUIRED)
  set(list "")
  foreach(header operator_sets operator_sets_ml operator_sets_preview)
    set(path "${ONNX_HEADERS}/onnx/defs/${header}.h")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${path}")
    file(STRINGS "${path}" lines REGEX "GetOpSchema<ONNX[A-Z_]*_CLASS_NAME\\(")
    foreach(line IN LISTS lines)
      string(REGEX REPLACE ".*GetOpSchema<(ONNX_OPERATOR_SET_SCHEMA_CLASS_NAME\\(([A-Za-z]+), ([0-9]+), ([A-Za-z0-9_]+)\\)).*"
             "REUSESCOPE_SCHEMA(\\2, \\3, \\4, \\1)\n" entry "${line}")
      string(REGEX REPLACE ".*GetOpSchema<(ONNX_PREVIEW_OPERATOR_SET_SCHEMA_CLASS_NAME\\(([0-9]+), ([A-Za-z0-9_]+)\\)).*"
             "REUSESCOPE_SCHEMA(OnnxPreview, \\2, \\3, \\1)\n" entry "${entry}")
      string(APPEND list "${entry}")
    endforeach()
  endforeach()
  file(CONFIGURE OUTPUT "${output}" CONTENT "${list}" @ONLY)
endfunction()
