# tw_layer(<name> [<layer below>...]): the library of one folder, tweedie::<name>,
# made of every .cpp under it (but for those that its CMakeLists.txt adds by choice).
function(tw_layer name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/kernels/cpu/isa/[a-z0-9_]*\\.cpp$|/kernels/(cuda|nocuda)/|/apps/tw_[a-z_]*\\.cpp$")
  add_library(tw_${name} STATIC ${sources})
  add_library(tweedie::${name} ALIAS tw_${name})
  set_target_properties(tw_${name} PROPERTIES EXPORT_NAME ${name} OUTPUT_NAME tweedie_${name})
  target_include_directories(tw_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/tweedie>)
  target_compile_features(tw_${name} PUBLIC cxx_std_20)
  target_link_libraries(tw_${name} PRIVATE $<BUILD_INTERFACE:tw_options>)
  foreach(below ${ARGN})
    target_link_libraries(tw_${name} PUBLIC tw_${below})
  endforeach()
endfunction()
