# Shared libraries of their own for the two libraries that are slow to compile and
# that few runs need: the program opens them when it first does (core/module.h).
# Without ITK or CGAL it is built all the same and says what is missing.

# palpate_module(NAME FILE): libpalpate_NAME.so beside libpalpate.so
function(palpate_module name file)
  add_library(palpate_${name} MODULE ${file})
  target_compile_features(palpate_${name} PRIVATE cxx_std_17)
  # Its errors are exceptions, and its own assertions are not what Debug is for.
  target_compile_options(palpate_${name} PRIVATE -O2 -DNDEBUG -g0 -Wall -Wextra)
  set_target_properties(palpate_${name} PROPERTIES
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_include_directories(palpate_${name} PRIVATE
    ${CMAKE_CURRENT_SOURCE_DIR}/include)
  install(TARGETS palpate_${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  # Debug is for tests, and those labelled debug need none of them.
  if(NOT CMAKE_BUILD_TYPE STREQUAL Debug)
    add_dependencies(palpate palpate_${name})
  endif()
endfunction()

# MetaImage, NRRD and DICOM.
find_package(ITK 5.2 QUIET COMPONENTS
  ITKCommon ITKIOImageBase ITKIOMeta ITKIONRRD ITKIOGDCM)
if(ITK_FOUND)
  palpate_module(itk source/image/itk_module.cc)
  target_include_directories(palpate_itk SYSTEM PRIVATE ${ITK_INCLUDE_DIRS})
  target_link_libraries(palpate_itk PRIVATE ${ITK_LIBRARIES})
else()
  message(STATUS "No ITK: MetaImage, NRRD and DICOM cannot be read.")
endif()

# Tetrahedra of a mask. Headers only; its interval arithmetic needs
# -frounding-math.
find_path(CGAL_INCLUDE_DIR CGAL/Labeled_mesh_domain_3.h)
if(CGAL_INCLUDE_DIR)
  palpate_module(cgal source/mesh/cgal_module.cc)
  target_include_directories(palpate_cgal SYSTEM PRIVATE ${CGAL_INCLUDE_DIR})
  target_compile_options(palpate_cgal PRIVATE -frounding-math)
  target_link_libraries(palpate_cgal PRIVATE gmp mpfr)
else()
  message(STATUS "No CGAL: Task = mesh cannot run.")
endif()
