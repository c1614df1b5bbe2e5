import Glibc
import Terminal

exit(Daemon.run(Array(CommandLine.arguments.dropFirst())))
