# Debian's Protobuf brings no package configuration of its own, and an installed ONNX asks for one: hand it the targets
# that CMake's FindProtobuf has made.
find_package(Protobuf MODULE REQUIRED)
set(Protobuf_FOUND TRUE)
