#include <palpate/core/errors.h>
#include <palpate/core/module.h>

#include <dlfcn.h>

namespace Palpate
{
  namespace
  {
    /// Where libpalpate is, with a slash at the end.
    std::string
    folder_of_this_library()
    {
      Dl_info info;
      if (dladdr(reinterpret_cast<void *>(&function_of_module), &info) == 0 ||
          info.dli_fname == nullptr)
        return "";
      const std::string name  = info.dli_fname;
      const auto        slash = name.rfind('/');
      return slash == std::string::npos ? "" : name.substr(0, slash + 1);
    }
  } // namespace

  void *
  function_of_module(const std::string &module,
                     const std::string &function,
                     const std::string &package,
                     const std::string &purpose)
  {
    const std::string file =
      folder_of_this_library() + "libpalpate_" + module + ".so";
    // Not global: its library keeps its names to itself.
    void *library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    void *symbol =
      library == nullptr ? nullptr : dlsym(library, function.c_str());
    if (symbol == nullptr)
      {
        const char *reason = dlerror();
        throw InputError("what " + purpose + " cannot be loaded (" +
                         (reason == nullptr ? "" : reason) +
                         "), expected a build where Debian's " + package +
                         " is installed");
      }
    return symbol;
  }
} // namespace Palpate
