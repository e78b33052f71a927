# deal.II hands its users the linker it was built with (-fuse-ld=mold on Debian 13,
# gold on Debian 12), which need not be installed where they build: without it, the
# compiler's own one. To be included after project() and before the first
# deal_ii_setup_target(); also by find_package(palpate).
include(CheckCXXSourceCompiles)

if(DEAL_II_LINKER_FLAGS MATCHES "-fuse-ld=[^ ]+")
  set(_linker_flag ${CMAKE_MATCH_0})
  set(_required_link_options ${CMAKE_REQUIRED_LINK_OPTIONS})
  set(CMAKE_REQUIRED_LINK_OPTIONS ${_linker_flag})
  unset(PALPATE_LINKER_OF_DEAL_II CACHE)
  check_cxx_source_compiles("int main() {}" PALPATE_LINKER_OF_DEAL_II)
  set(CMAKE_REQUIRED_LINK_OPTIONS ${_required_link_options})
  if(NOT PALPATE_LINKER_OF_DEAL_II)
    message(STATUS "The linker of deal.II's ${_linker_flag} is not there")
    string(REPLACE "${_linker_flag}" "" DEAL_II_LINKER_FLAGS
      "${DEAL_II_LINKER_FLAGS}")
  endif()
endif()
