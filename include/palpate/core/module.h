#ifndef palpate_core_module_h
#define palpate_core_module_h

#include <string>

namespace Palpate
{
  /**
   * A function of a shared library of ours beside libpalpate that is opened
   * when it is first needed: what a library costs at the start, only those pay
   * who use it. It stays open.
   * @param module "cgal" for libpalpate_cgal.so
   * @param package of Debian, without which the module is not built
   * @param purpose "reads NRRD files", for the message
   * @throw InputError if this build has no such module
   */
  void *
  function_of_module(const std::string &module,
                     const std::string &function,
                     const std::string &package,
                     const std::string &purpose);
} // namespace Palpate

#endif
