// Stands in for the program in tests: asks fork_server for a run with its own
// arguments, folder, environment and files, hands signals on, and ends as the
// run ends. PALPATE_SERVER is the server's socket and PALPATE_PROGRAM the
// program itself, which is started where there is no server, and as a rank of
// mpirun.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace
{
  int connection = -1;

  extern "C" void
  hand_on(int number)
  {
    const char byte = static_cast<char>(number);
    send(connection, &byte, 1, MSG_NOSIGNAL);
  }

  bool
  connect_to(const char *path)
  {
    if (path == nullptr)
      return false;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    return connect(connection,
                   reinterpret_cast<sockaddr *>(&address),
                   sizeof(address)) == 0;
  }

  /// Folder, limit of file sizes, number of arguments, arguments and
  /// environment, with a zero after each; and the three standard files.
  bool
  ask(const char *program, int argc, char **argv, char **environment)
  {
    std::string message;
    const auto  append = [&](const std::string &text) {
      message += text;
      message += '\0';
    };
    char *folder = getcwd(nullptr, 0);
    append(folder);
    std::free(folder);
    rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    append(limit.rlim_cur == RLIM_INFINITY ? ""
                                           : std::to_string(limit.rlim_cur));
    append(std::to_string(argc));
    append(program);
    for (int i = 1; i < argc; ++i)
      append(argv[i]);
    for (char **entry = environment; *entry != nullptr; ++entry)
      append(*entry);

    const int files[3]                         = {0, 1, 2};
    char      space[CMSG_SPACE(sizeof(files))] = {};
    iovec     data{&message[0], message.size()};
    msghdr    header{};
    header.msg_iov        = &data;
    header.msg_iovlen     = 1;
    header.msg_control    = space;
    header.msg_controllen = sizeof(space);
    cmsghdr *control      = CMSG_FIRSTHDR(&header);
    control->cmsg_level   = SOL_SOCKET;
    control->cmsg_type    = SCM_RIGHTS;
    control->cmsg_len     = CMSG_LEN(sizeof(files));
    std::memcpy(CMSG_DATA(control), files, sizeof(files));
    return sendmsg(connection, &header, 0) >= 0;
  }
} // namespace

int
main(int argc, char **argv, char **environment)
{
  const char *program = std::getenv("PALPATE_PROGRAM");
  if (program == nullptr)
    {
      std::fprintf(stderr, "forked: PALPATE_PROGRAM is not set\n");
      return 126;
    }
  const bool rank = std::getenv("PMIX_RANK") || std::getenv("PMI_RANK");
  if (rank || !connect_to(std::getenv("PALPATE_SERVER")))
    {
      execv(program, argv);
      std::perror(program);
      return 126;
    }
  for (const int number : {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2})
    std::signal(number, hand_on);
  if (!ask(program, argc, argv, environment))
    {
      std::perror("forked: the server was not asked");
      return 126;
    }
  int     status = 0;
  ssize_t size   = 0;
  do
    size = recv(connection, &status, sizeof(status), 0);
  while (size < 0 && errno == EINTR);
  if (size != sizeof(status))
    {
      std::fprintf(stderr, "forked: the server is gone\n");
      return 126;
    }
  if (WIFSIGNALED(status))
    {
      std::signal(WTERMSIG(status), SIG_DFL);
      raise(WTERMSIG(status));
    }
  return WEXITSTATUS(status);
}
