// Runs the program many times from one process: fork_server SOCKET
//
// What the dynamic linker does when the program starts (200 libraries, 320,000
// relocations) takes 0.5 s of processor time. Here it is done once: every run
// is a fork of this process, which has done it, and MPI and all that the
// program itself does are of that run alone. tests/forked.cc is started in
// place of the program and asks for the run. The server ends when its standard
// input does.
#include <deal.II/base/mpi.h>

#include <palpate/core/errors.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>

#include <boost/program_options.hpp>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <map>
#include <vector>

#define main palpate_main
#include "../source/drivers/main.cc"
#undef main

namespace
{
  /// What a client asks for: the strings of its message and its files.
  struct Request
  {
    std::string              directory;
    std::string              file_size_limit; // bytes, "" without
    std::vector<std::string> arguments;       // from the name of the program
    std::vector<std::string> environment;     // NAME=VALUE
    int                      files[3];        // input, output, errors
  };

  /// Receive the message of forked.cc, whose strings end with a zero each.
  bool
  receive(const int connection, Request &request)
  {
    std::vector<char> text(1 << 20);
    char              space[CMSG_SPACE(sizeof(request.files))] = {};
    iovec             data{text.data(), text.size()};
    msghdr            message{};
    message.msg_iov        = &data;
    message.msg_iovlen     = 1;
    message.msg_control    = space;
    message.msg_controllen = sizeof(space);
    const ssize_t  size    = recvmsg(connection, &message, 0);
    const cmsghdr *files   = CMSG_FIRSTHDR(&message);
    if (size <= 0 || files == nullptr || files->cmsg_type != SCM_RIGHTS)
      return false;
    std::memcpy(request.files, CMSG_DATA(files), sizeof(request.files));
    std::vector<std::string> words;
    for (const char *at = text.data(); at < text.data() + size;
         at += words.back().size() + 1)
      words.emplace_back(at);
    if (words.size() < 3)
      return false;
    request.directory          = words[0];
    request.file_size_limit    = words[1];
    const std::size_t n        = std::stoul(words[2]);
    const auto        argument = words.begin() + 3;
    request.arguments.assign(argument, argument + n);
    request.environment.assign(argument + n, words.end());
    return true;
  }

  /// In the forked process: become what the client asks for.
  [[noreturn]] void
  run_program(Request &request)
  {
    setsid();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const int number : {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2})
      std::signal(number, SIG_DFL);
    for (int i = 0; i < 3; ++i)
      dup2(request.files[i], i);
    for (int i = 3; i < 1024; ++i) // the server's own
      close(i);
    clearenv();
    for (std::string &entry : request.environment)
      putenv(entry.data());
    setenv("OMPI_MCA_ess_singleton_isolated", "1", 0); // needs no daemon
    if (!request.file_size_limit.empty())
      {
        const rlim_t bytes = std::stoull(request.file_size_limit);
        const rlimit limit{bytes, bytes};
        setrlimit(RLIMIT_FSIZE, &limit);
        std::signal(SIGXFSZ, SIG_IGN);
      }
    if (chdir(request.directory.c_str()) != 0)
      std::exit(127);
    std::vector<char *> arguments;
    for (std::string &argument : request.arguments)
      arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    std::exit(palpate_main(request.arguments.size(), arguments.data()));
  }

  class Server
  {
  public:
    explicit Server(const char *path)
    {
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      std::strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
      listening = socket(AF_UNIX, SOCK_SEQPACKET, 0);
      sigset_t ended;
      sigemptyset(&ended);
      sigaddset(&ended, SIGCHLD);
      sigprocmask(SIG_BLOCK, &ended, nullptr);
      children = signalfd(-1, &ended, 0);
      if (bind(listening,
               reinterpret_cast<sockaddr *>(&address),
               sizeof(address)) != 0 ||
          listen(listening, 64) != 0 || children < 0)
        throw std::runtime_error(std::string(path) + ": no socket here");
    }

    void
    serve()
    {
      while (true)
        {
          std::vector<pollfd> waiting{{0, POLLIN, 0},
                                      {listening, POLLIN, 0},
                                      {children, POLLIN, 0}};
          for (const auto &[connection, process] : runs)
            waiting.push_back({connection, POLLIN, 0});
          if (poll(waiting.data(), waiting.size(), -1) < 0)
            continue;
          if (waiting[0].revents != 0)
            break;
          if (waiting[2].revents != 0)
            report();
          for (std::size_t i = 3; i < waiting.size(); ++i)
            if (waiting[i].revents != 0)
              forward(waiting[i].fd);
          if (waiting[1].revents != 0)
            start();
        }
      for (const auto &[connection, process] : runs)
        kill(-process, SIGKILL);
    }

  private:
    void
    start()
    {
      const int connection = accept(listening, nullptr, nullptr);
      Request   request;
      if (connection < 0 || !receive(connection, request))
        return;
      const pid_t process = fork();
      if (process == 0)
        run_program(request);
      for (const int file : request.files)
        close(file);
      runs[connection] = process;
    }

    /// A signal for a run, or its client is gone.
    void
    forward(const int connection)
    {
      const auto run = runs.find(connection);
      if (run == runs.end())
        return; // it has just ended
      char number = 0;
      if (recv(connection, &number, 1, 0) == 1)
        kill(run->second, number);
      else
        {
          kill(-run->second, SIGKILL);
          runs.erase(run);
          close(connection);
        }
    }

    void
    report()
    {
      signalfd_siginfo information;
      if (read(children, &information, sizeof(information)) < 0)
        return;
      int   status  = 0;
      pid_t process = 0;
      while ((process = waitpid(-1, &status, WNOHANG)) > 0)
        for (const auto &[connection, of_run] : runs)
          if (of_run == process)
            {
              send(connection, &status, sizeof(status), MSG_NOSIGNAL);
              close(connection);
              runs.erase(connection);
              break;
            }
    }

    int                  listening;
    int                  children;
    std::map<int, pid_t> runs; // connection -> process
  };
} // namespace

int
main(int argc, char **argv)
{
  if (argc != 2)
    {
      std::cerr << "usage: fork_server SOCKET" << std::endl;
      return 2;
    }
  Server server(argv[1]);
  std::cout << "ready" << std::endl;
  server.serve();
}
