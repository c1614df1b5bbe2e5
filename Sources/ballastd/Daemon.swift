import Control
import Dispatch
import Fault
import Fetching
import FileIO
import Glibc
import SystemPackage
import Terminal
import UpdateAgent

/// The verbs of `ballastd`.
enum Daemon {
    private static let usage = """
        ballastd \(ProgramVersion.current), the update agent of a Ballast host

        Usage: ballastd VERB [--root DIRECTORY]

          serve     keeps the host up to date and answers ballastctl
          health    runs the health checks of this boot; exit status 0 when all hold. In a boot that is
                    on trial a failure keeps its report and reboots the host; later it only says so
          look      looks once at the health checks, and notes when they hold: before a restart
          failed    says that this boot is not complete, and does as 'health' does after a failure
          settings  reads the settings, and says what is wrong with them
          good      notes that this boot has passed its health checks
          probation goes on with the health checks of a version that is new here, and goes back from it
                    where one does not hold any more
          update    brings the newest version into the other slot, as 'ballastctl update' does
          disk-generator DIRECTORY
                    writes into DIRECTORY that ballastd.service may use the host's own disk and no other
                    device, as systemd.generator(7) has it
          fetch     fetches for the other verbs, without any rights of its own: for who is at the other end
                    of standard input, or where that is no socket, for all who come to /run/ballast/fetch

          --root    finds all files, devices included, below DIRECTORY instead of /

        Settings: /usr/lib/ballast/agent.json and over it /etc/ballast/agent.json.
        """

    /// Runs the verb that `arguments` name.
    ///
    /// - Returns: the exit status: 0, 1 after a failure, 64 for a wrong command line.
    static func run(_ arguments: [String]) -> CInt {
        var arguments = arguments[...]
        guard let verb = arguments.popFirst(), verb != "--help", verb != "-h", verb != "help" else {
            StandardStreams.print(usage)
            return arguments.isEmpty ? 0 : 64
        }
        if verb == "disk-generator" { return generate(arguments) }
        var prefix = FilePath("/")
        while let option = arguments.popFirst() {
            guard option == "--root", let value = arguments.popFirst() else {
                return misused("'\(option)' is not known")
            }
            prefix = FilePath(value)
        }
        do throws(UpdateAgentFault) {
            switch verb {
            case "serve": try serve(prefix)
            case "health": return try health(prefix)
            case "look":
                let (settings, _, host) = try parts(prefix)
                let runner = HealthRunner(settings: settings, host: host, fetcher: fetcher(host.paths))
                StandardStreams.print(try runner.noteLastAnswer())
            case "failed": StandardStreams.report(try failed(prefix))
            case "settings":
                guard let problem = try AgentSettings.load(HostPaths(prefix: prefix)).problem else { return 0 }
                StandardStreams.report("ballastd: \(problem)")
                return 1
            case "good": StandardStreams.print(try agent(prefix).recordGood())
            case "probation": try probation(prefix)
            case "update": try update(prefix)
            case "fetch": try fetch(prefix)
            default: return misused("there is no verb '\(verb)'")
            }
            return 0
        } catch {
            StandardStreams.report("ballastd: \(error)")
            return 1
        }
    }

    private static func generate(_ arguments: ArraySlice<String>) -> CInt {
        guard let directory = arguments.first else { return misused("'disk-generator' needs a directory") }
        do {
            let disk = try Host.disk(HostPaths())
            let path = FilePath(directory).appending("ballastd.service.d")
            try path.makeDirectories()
            try path.appending("50-disk.conf").replaceContents(
                with: "[Service]\nDeviceAllow=\nDeviceAllow=\(disk) rw\n")
            return 0
        } catch {
            StandardStreams.report("ballastd: all block devices may be used, since: \(error)")
            return 1
        }
    }

    private static func misused(_ what: String) -> CInt {
        StandardStreams.report("ballastd: \(what); 'ballastd --help' says what there is")
        return 64
    }

    private static func parts(
        _ prefix: FilePath
    ) throws(UpdateAgentFault) -> (settings: AgentSettings, problem: String?, host: Host) {
        let paths = HostPaths(prefix: prefix)
        let (settings, problem) = try AgentSettings.load(paths)
        if let problem { StandardStreams.report("ballastd: \(problem)") }
        return (settings, problem, try Host(paths, settings: settings))
    }

    private static func agent(_ prefix: FilePath) throws(UpdateAgentFault) -> Agent {
        // Before they are read: what is written meanwhile has changed then.
        let overlay = Host.overlay(HostPaths(prefix: prefix))
        let (settings, problem, host) = try parts(prefix)
        let source =
            settings.mirrors.isEmpty ? nil : MirroredRepository(settings, host: host, fetcher: fetcher(host.paths))
        let contract = RestartContract(settings, host: host, fetcher: fetcher(host.paths))
        return Agent(
            settings: settings, settingsProblem: problem, host: host, source: source, contract: contract,
            overlay: overlay)
    }

    private static func fetcher(_ paths: HostPaths) -> any Fetcher { WorkerFetcher(socket: paths.fetchSocket) }

    private static func fetch(_ prefix: FilePath) throws(UpdateAgentFault) {
        if FetchWorker.isSocket(STDIN_FILENO) { return FetchWorker(owning: STDIN_FILENO).run() }
        let path = HostPaths(prefix: prefix).fetchSocket
        do throws(FetchWorkerFault) { try FetchWorker.serve(at: path) } catch {
            throw UpdateAgentFault(.system, "nothing can be fetched for others", cause: error)
        }
    }

    private static func serve(_ prefix: FilePath) throws(UpdateAgentFault) {
        let agent = try agent(prefix)
        // What cannot be kept now is told of; the host still has to find its way to a better version.
        do throws(UpdateAgentFault) {
            try agent.reconcile()
            StandardStreams.print(try agent.status().text)
        } catch {
            StandardStreams.report("ballastd: \(error)")
        }
        let server = controlServer(agent)
        // Whoever waits for an answer gets it, also one that says that the host reboots.
        let end = onTermination {
            ServiceManager.noteStopping()
            agent.stop()
            server?.stop(answeringFor: .seconds(answerSeconds))
            // Other threads may still be at work with what would be torn down.
            _exit(0)
        }
        defer { end.cancel() }
        ServiceManager.noteReady()
        let alive = keepAlive(agent)
        defer { alive?.cancel() }
        agent.keepUpToDate { StandardStreams.report($0) }
    }

    /// How long calls may take to be answered once the agent is to end, in seconds.
    private static let answerSeconds = 5

    /// Has `body` done, on a thread of its own, when the process is told to end.
    private static func onTermination(_ body: @escaping @Sendable () -> Void) -> any DispatchSourceSignal {
        signal(SIGTERM, SIG_IGN)
        let source = DispatchSource.makeSignalSource(
            signal: SIGTERM, queue: DispatchQueue(label: "io.ballast.termination"))
        source.setEventHandler(handler: body)
        source.activate()
        return source
    }

    /// Says that the agent is alive for as long as it answers and goes on with what it is to do.
    private static func keepAlive(_ agent: Agent) -> (any DispatchSourceTimer)? {
        guard let interval = ServiceManager.aliveInterval else { return nil }
        let timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "io.ballast.alive"))
        timer.schedule(deadline: .now(), repeating: .seconds(interval))
        timer.setEventHandler { if agent.isAlive { ServiceManager.noteAlive() } }
        timer.activate()
        return timer
    }

    /// A host that nobody can ask still has to find its way to a version on which somebody can.
    private static func controlServer(_ agent: Agent) -> VarlinkServer? {
        do throws(ControlFault) {
            let server = try VarlinkServer(AgentControl(agent), version: ProgramVersion.current)
            try server.start()
            return server
        } catch {
            StandardStreams.report("ballastd: ballastctl cannot be answered, updates go on: \(error)")
            return nil
        }
    }

    /// Does what a failed health check leads to, also where the image's settings cannot be used.
    ///
    /// - Returns: what was done, for the log.
    private static func failed(
        _ prefix: FilePath, problem: String = "a unit that it requires has failed"
    ) throws(UpdateAgentFault) -> String {
        let paths = HostPaths(prefix: prefix)
        let settings: AgentSettings
        do throws(UpdateAgentFault) { (settings, _) = try AgentSettings.load(paths) } catch {
            settings = try AgentSettings(withoutFilesOf: paths)
        }
        let host = try Host(paths, settings: settings)
        return try handleFailure(HealthReport.incomplete(host, problem), settings, host)
    }

    private static func handleFailure(
        _ report: HealthReport, _ settings: AgentSettings, _ host: Host
    ) throws(UpdateAgentFault) -> String {
        let runner = HealthRunner(settings: settings, host: host, fetcher: fetcher(host.paths))
        let agent = Agent(
            settings: settings, host: host, source: nil,
            contract: RestartContract(settings, host: host, fetcher: fetcher(host.paths)))
        do throws(UpdateAgentFault) {
            if let done = try agent.endProbation(report, runner) { return done }
        } catch {
            StandardStreams.report("ballastd: \(error)")
        }
        return try runner.handleFailure(report)
    }

    private static func health(_ prefix: FilePath) throws(UpdateAgentFault) -> CInt {
        let settings: AgentSettings
        let host: Host
        do throws(UpdateAgentFault) { (settings, _, host) = try parts(prefix) } catch {
            // Then this version cannot update the host either: it must not stay.
            StandardStreams.report("ballastd: \(error)")
            StandardStreams.report(try failed(prefix, problem: "\(error)"))
            return 1
        }
        // A boot that ends in order while it is checked is not one without a word.
        var end: (any DispatchSourceSignal)?
        defer { end?.cancel() }
        do throws(UpdateAgentFault) {
            let agent = try agent(prefix)
            end = onTermination {
                try? agent.interruptProbation()
                _exit(1)
            }
            if let left = try agent.beginBoot() {
                StandardStreams.report(left)
                return 1
            }
        } catch {
            // The checks say whether this boot is good all the same.
            StandardStreams.report("ballastd: \(error)")
        }
        let runner = HealthRunner(settings: settings, host: host, fetcher: fetcher(host.paths))
        let report = runner.run { StandardStreams.print($0) }
        StandardStreams.print(report.text)
        if report.hasPassed {
            // Where it cannot be noted, the host is as healthy.
            do throws(UpdateAgentFault) { try runner.noteFirstAnswer() } catch {
                StandardStreams.report("ballastd: \(error)")
            }
            return 0
        }
        StandardStreams.report(try handleFailure(report, settings, host))
        return 1
    }

    private static func probation(_ prefix: FilePath) throws(UpdateAgentFault) {
        let (settings, _, host) = try parts(prefix)
        let runner = HealthRunner(settings: settings, host: host, fetcher: fetcher(host.paths))
        let agent = try agent(prefix)
        let end = onTermination {
            try? agent.interruptProbation()
            _exit(0)
        }
        defer { end.cancel() }
        StandardStreams.print(
            try agent.watchProbation(runner) { StandardStreams.report("ballastd: \($0)") })
    }

    private static func update(_ prefix: FilePath) throws(UpdateAgentFault) {
        let agent = try agent(prefix)
        let result = try agent.update { progress in
            if StandardStreams.errorIsTerminal { StandardStreams.report(progress.text) }
        }
        StandardStreams.print(result.text)
    }
}
