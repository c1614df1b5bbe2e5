import BootControl
import Dispatch
import Fault
import Fetching
import FileIO
import Glibc
import JSON
import Release
import Synchronization
import SystemPackage
import TestSupport
import Testing
import Transfer
import Trust
import UpdateAgent

/// A host and its repository behind real servers, asked by workers in a process of their own.
@Suite("A host and the network")
struct NetworkTests {
    /// A host that runs 1.0, and a repository with 1.1.
    final class Scene: Sendable {
        private let temporary: TemporaryDirectory
        let host: TestHost
        let repository: TestRepository
        let nginx: Nginx
        private let workers: FetchService
        let pauses = Mutex<[Int64]>([])

        var directory: FilePath { temporary.path }

        init(publishing images: [TestImage]? = nil) async throws {
            let directory = try TemporaryDirectory()
            (host, repository) = try await UpdateTests.prepare(in: directory.path, publishing: images)
            nginx = try await Nginx(serving: repository.path, in: directory.path)
            let own = host.directory.appending("usr/lib/ballast")
            try own.makeDirectories()
            try own.appending("root.json").replaceContents(with: try repository.root())
            workers = try FetchService(root: host.directory)
            temporary = directory
        }

        func agent(
            _ mirrors: [String], slowSeconds: Int = 30, connectSeconds: Int = 20, _ transfer: [String: JSONValue] = [:],
            clock: @escaping @Sendable () -> Int64 = { MirroredRepository.secondsSinceBoot }
        ) throws -> Agent {
            let settings = try host.settings { members in
                members["repository"] = .array(mirrors.map { .string($0) })
                members["transfer"] = .object(["proxy": "none"].merging(transfer) { $1 })
            }
            return try agent(settings, slowSeconds: slowSeconds, connectSeconds: connectSeconds, clock: clock)
        }

        func agent(
            _ settings: AgentSettings, slowSeconds: Int = 30, connectSeconds: Int = 20,
            clock: @escaping @Sendable () -> Int64 = { MirroredRepository.secondsSinceBoot }
        ) throws -> Agent {
            let present = try host.present()
            var patience = HTTPOptions.Patience()
            patience.slowSeconds = slowSeconds
            patience.connectSeconds = connectSeconds
            let source = MirroredRepository(
                settings, host: present,
                fetcher: WorkerFetcher(socket: HostPaths(prefix: host.directory).fetchSocket), patience: patience,
                clock: clock
            ) { seconds in self.pauses.withLock { $0.append(seconds) } }
            return Agent(settings: settings, host: present, source: source, checkpoint: 1 << 18)
        }

        /// What an update from `mirrors` fails with; nothing boots but what ran.
        func failure(
            _ mirrors: [String], slowSeconds: Int = 30, _ transfer: [String: JSONValue] = [:]
        ) async throws -> UpdateAgentFault {
            let agent = try agent(mirrors, slowSeconds: slowSeconds, transfer)
            let fault = try await #require(throws: UpdateAgentFault.self) {
                try await onOwnThread { try agent.update { _ in } }
            }
            #expect(try host.order() == ["1.0"])
            #expect(try agent.status().denied.isEmpty)
            return fault
        }

        func update(
            _ mirrors: [String], _ transfer: [String: JSONValue] = [:]
        ) async throws -> UpdateResult {
            let agent = try agent(mirrors, transfer)
            return try await onOwnThread { try agent.update { _ in } }
        }
    }

    private static let nothing = "nothing changes; the next mirror is asked, or the same one later"

    @Test(
        "servers that are honest are used, whatever they do not know",
        arguments: ["plain", "a/long%20prefix/of/it", "no-ranges", "gzip", "moved", "store"])
    func honest(name: String) async throws {
        let scene = try await Scene()
        let failing = try scene.agent([scene.nginx.base + "/without-blobs"])
        await #expect(throws: UpdateAgentFault.self) { try await onOwnThread { try failing.update { _ in } } }
        let result = try await scene.update(["\(scene.nginx.base)/\(name)/"])
        #expect(result.outcome == .staged)
        #expect(try scene.host.boot() == "1.1")
        #expect(try scene.nginx.requests().allSatisfy { $0.hasSuffix(" identity") || $0.contains("/gzip/") })
    }

    @Test("an IPv6 address is one like others")
    func ipv6() async throws {
        let scene = try await Scene()
        #expect(try await scene.update(["http://[::1]:\(scene.nginx.port)/plain"]).version == "1.1")
    }

    @Test(
        "what is not there, or not what is published, is a transfer that failed, and nobody is distrusted for it",
        arguments: [
            (
                "portal", "a login page answers everything",
                "the repository is not there, or not complete: metadata/2.root.json: a web page where"
            ),
            ("redirect", "everything leads to a login page", "a web page where signed metadata is expected"),
            ("loop", "a redirect leads to itself", "more than 5 redirects"),
            ("nothing", "the address leads nowhere", "metadata/timestamp.json: the repository does not have it"),
            ("broken", "the server is broken", "the server cannot answer now (HTTP status 500)"),
            ("forbidden", "the server refuses", "the server does not let us have this (HTTP status 403)"),
            (
                "busy", "the server wants to be left alone for two hours",
                "the server cannot answer now (HTTP status 503)"
            ),
            (
                "recompressed", "something on the way compresses",
                "the server sends it compressed (gzip), which was not asked for"
            ),
            (
                "without-targets", "a mirror has not got what is published yet",
                "the repository publishes it and does not have it"
            ),
            ("without-blobs", "a mirror has no images", "the server has nothing here (HTTP status 404)"),
            ("http://127.0.0.1:9", "nothing listens at the address", "Couldn't connect to server"),
            ("http://nobody.invalid", "the server's name is not known", "Could not resolve host"),
        ])
    func absent(name: String, what: String, words: String) async throws {
        let scene = try await Scene()
        let fault = try await scene.failure([name.contains(":") ? name : "\(scene.nginx.base)/\(name)"])
        #expect(fault.code == .transfer)
        #expect(fault.description.contains(words), "\(fault)")
        try FaultCatalogue.note(.network, what, says: "\(fault)", then: Self.nothing)
    }

    @Test(
        "a release that cannot be had is no reason to take an older one",
        arguments: ["without-targets", "page-targets"])
    func notPassedOver(name: String) async throws {
        let scene = try await Scene(publishing: [try UpdateTests.new.get(), try UpdateTests.newest.get()])
        let fault = try await scene.failure(["\(scene.nginx.base)/\(name)"])
        #expect([.transfer, .mismatch].contains(fault.code))
        #expect(try scene.host.agent().status().other?.standing == .empty)
        #expect(try await scene.update([scene.nginx.base + "/plain"]).version == "1.2")
    }

    @Test("the first mirror that has it is enough, and one that fails is asked last the next time")
    func mirrors() async throws {
        let scene = try await Scene()
        let names = ["nothing", "portal", "busy", "without-targets", "page-targets", "without-blobs", "plain"]
        let agent = try scene.agent(
            ["http://127.0.0.1:9", "http://nobody.invalid"] + names.map { "\(scene.nginx.base)/\($0)" },
            clock: { 1000 })
        #expect(try await onOwnThread { try agent.update { _ in } }.outcome == .staged)
        let status = try agent.status()
        #expect(status.mirrors.count == 9 && status.repository == "http://127.0.0.1:9")
        let before = try scene.nginx.requests().count
        #expect(try await onOwnThread { try agent.check() }.available == "1.1")
        let news = try scene.nginx.requests().dropFirst(before)
        #expect(news.allSatisfy { $0.hasPrefix("/plain/") }, "\(news)")
        #expect(try scene.host.boot() == "1.1")
    }

    @Test("a look with nothing new takes two requests and less than 10 KB")
    func cheap() async throws {
        let scene = try await Scene(publishing: [try UpdateTests.old.get()])
        let agent = try scene.agent([scene.nginx.base + "/plain"])
        _ = try await onOwnThread { try agent.check() }
        let before = try scene.nginx.requests().count
        #expect(try await onOwnThread { try agent.check() }.available == nil)
        let news = try scene.nginx.requests().dropFirst(before)
        #expect(
            news.map { $0.split(separator: " ").prefix(2).joined(separator: " ") } == [
                "/plain/metadata/2.root.json 404", "/plain/metadata/timestamp.json 200",
            ])
        // The answer to the first one and both heads are less than 1 KB.
        #expect(try scene.repository.path.appending("metadata/timestamp.json").contents().count < 9000)
    }

    @Test("a server that wants to be left alone is, for as long as it says, within a day")
    func retryAfter() async throws {
        let scene = try await Scene()
        let settings = try scene.host.settings { $0["repository"] = .string(scene.nginx.base + "/busy") }
        let source = MirroredRepository(
            settings, host: try scene.host.present(), fetcher: DirectFetcher(), clock: { 1000 }
        ) { _ in
            Issue.record("nobody waits for two hours")
        }
        let fault = try await #require(throws: UpdateAgentFault.self) {
            try await onOwnThread { _ = try source.refresh(isCancelled: { false }) }
        }
        #expect(fault.code == .transfer)
        let seconds = try #require(source.retryAfter)
        #expect(seconds == 7200)
        let far = try scene.host.settings { $0["repository"] = .string(scene.nginx.base + "/limited") }
        let limited = MirroredRepository(far, host: try scene.host.present(), fetcher: DirectFetcher(), clock: { 1000 })
        { _ in }
        await #expect(throws: UpdateAgentFault.self) {
            try await onOwnThread { _ = try limited.refresh(isCancelled: { false }) }
        }
        #expect(limited.retryAfter == 86_400)
        // Another one that does not say so may be asked at once.
        let both = try scene.host.settings {
            $0["repository"] = .array([.string(scene.nginx.base + "/busy"), .string(scene.nginx.base + "/broken")])
        }
        let two = MirroredRepository(both, host: try scene.host.present(), fetcher: DirectFetcher(), clock: { 1000 }) {
            _ in
        }
        await #expect(throws: UpdateAgentFault.self) {
            try await onOwnThread { _ = try two.refresh(isCancelled: { false }) }
        }
        #expect(two.retryAfter == nil)
    }

    @Test("a server that drips is given up, and while it does, operators are answered")
    func drip() async throws {
        let scene = try await Scene()
        let agent = try scene.agent([scene.nginx.base + "/drip"], slowSeconds: 4)
        let updating = Mutex<Result<UpdateResult, UpdateAgentFault>?>(nil)
        let group = DispatchGroup()
        DispatchQueue(label: "update").async(group: group) {
            let result = Result { () throws(UpdateAgentFault) in try agent.update { _ in } }
            updating.withLock { $0 = result }
        }
        // The index drips already.
        while agent.phase != "planning" { usleep(10_000) }
        let rollback = try #require(throws: UpdateAgentFault.self) { try agent.rollback(reboot: false, force: false) }
        #expect(rollback.code == .nothingGood)
        _ = try agent.deny("1.7", reason: "not this one")
        #expect(try agent.status().denied.map(\.version) == ["1.7"])
        _ = try agent.allow("1.7")
        #expect(updating.withLock { $0 } == nil, "it still drips")
        await withCheckedContinuation { done in group.notify(queue: .global()) { done.resume() } }
        let fault = try #require(throws: UpdateAgentFault.self) { try updating.withLock { $0 }?.get() }
        #expect(fault.description.contains("too slow"), "\(fault)")
        try FaultCatalogue.note(
            .network, "the server drips", says: "\(fault)",
            then: "operators are answered meanwhile; the next mirror is asked")
        #expect(try await scene.update([scene.nginx.base + "/drip", scene.nginx.base + "/plain"]).version == "1.1")
    }

    @Test("a server that crawls is left for one that does not, and used where it is the only one")
    func crawl() async throws {
        let scene = try await Scene()
        let agent = try scene.agent([scene.nginx.base + "/crawl", scene.nginx.base + "/plain"], slowSeconds: 2)
        #expect(try await onOwnThread { try agent.update { _ in } }.outcome == .staged)
        let asked = try scene.nginx.requests()
        #expect(asked.contains { $0.hasPrefix("/crawl/blobs/") } && asked.contains { $0.hasPrefix("/plain/blobs/") })
        let alone = try await Scene(publishing: [try TestImage(version: "1.1", blocks: 60)])
        let patient = try alone.agent([alone.nginx.base + "/crawl"], slowSeconds: 2)
        #expect(try await onOwnThread { try patient.update { _ in } }.outcome == .staged)
    }

    @Test("a server without ranges is waited for while it gives once more what is there")
    func skipped() async throws {
        let scene = try await Scene()
        let size = try #require(
            try scene.repository.path.appending("blobs").directoryEntries().map {
                try FileStatus(of: scene.repository.path.appending("blobs").appending($0)).size
            }.max())
        scene.host.source.faults.withLock { $0.cutAfter = Int(size) * 2 / 3 }
        #expect(throws: UpdateAgentFault.self) { try scene.host.agent().update { _ in } }
        // What is skipped takes longer than a fetch worker may be silent.
        let agent = try scene.agent([scene.nginx.base + "/slow-whole"], slowSeconds: 1, connectSeconds: 1)
        #expect(try await onOwnThread { try agent.update { _ in } }.outcome == .staged)
        #expect(scene.pauses.withLock { $0.isEmpty }, "one request was enough")
        #expect(try scene.host.boot() == "1.1")
    }

    @Test("what drips ends at once when an operator denies it, or the agent is stopped", arguments: [false, true])
    func cancelled(stops: Bool) async throws {
        let scene = try await Scene()
        let agent = try scene.agent([scene.nginx.base + "/drip"])
        let group = DispatchGroup()
        let fault = Mutex<UpdateAgentFault?>(nil)
        DispatchQueue(label: "update").async(group: group) {
            do throws(UpdateAgentFault) { _ = try agent.update { _ in } } catch { fault.withLock { $0 = error } }
        }
        while agent.phase != "planning" { usleep(10_000) }
        if stops { agent.stop() } else { _ = try agent.deny("1.1", reason: "too slow") }
        await withCheckedContinuation { done in group.notify(queue: .global()) { done.resume() } }
        #expect(fault.withLock { $0?.code } == (stops ? .busy : .denied))
        if stops {
            #expect(fault.withLock { $0?.message } == "the agent is being stopped")
            #expect(try agent.history().isEmpty)
        }
        if stops { #expect(throws: UpdateAgentFault.self) { try agent.check() } }
    }

    @Test(
        "a server that lies about what it has changes nothing, and the next mirror helps out",
        arguments: [
            ("long", "an answer has more than it says"), ("short", "an answer ends too early"),
            ("total", "a part of a file names another length of the whole"),
            ("shifted", "another part comes than was asked for"),
            ("flipped", "a byte is flipped on the way"), ("endless", "an answer has no end"),
            ("no-range", "the whole file comes instead of a part"),
        ])
    func lies(name: String, what: String) async throws {
        let scene = try await Scene()
        let server = try LyingServer(serving: scene.repository.path)
        let liar = "\(server.base)/\(name)"
        // Three of them have all that is wanted, and more.
        if !["no-range", "endless", "long"].contains(name) {
            let fault = try await scene.failure([liar])
            #expect([.transfer, .mismatch].contains(fault.code), "\(fault)")
            try FaultCatalogue.note(.network, what, says: "\(fault)", then: Self.nothing)
        } else {
            try FaultCatalogue.note(
                .network, what, says: "", then: "what is needed is taken, the rest is left; the update succeeds")
        }
        #expect(try await scene.update([liar, scene.nginx.base + "/plain"]).version == "1.1")
        #expect(try scene.host.boot() == "1.1")
        withExtendedLifetime(server) {}
    }

    @Test(
        "what is damaged everywhere is given up after a few attempts, however much of it comes each time",
        arguments: ["kernel", "frames"])
    func damaged(name: String) async throws {
        let scene = try await Scene(publishing: [])
        let release = try await scene.repository.publish(try UpdateTests.new.get())
        let blob = name == "kernel" ? release.kernel : release.image.frames
        let path = scene.repository.path.appending(blob.path)
        var bytes = try path.contents()
        #expect(bytes.count > 100_000)
        // The last byte: all the others come before it is seen. Of frames, one whose content is stored as it is.
        bytes[bytes.count - 9] ^= 1
        try path.replaceContents(with: bytes)
        let fault = try await scene.failure([scene.nginx.base + "/plain", scene.nginx.base + "/no-ranges"])
        #expect(fault.code == .mismatch, "\(fault)")
        let asked = try scene.nginx.requests().filter { $0.contains("\(blob.digest)") }
        #expect(1...8 ~= asked.count, "\(asked)")
    }

    @Test("a server that wants to be left alone is not asked again as long as another one is there")
    func leftAlone() async throws {
        let scene = try await Scene()
        let agent = try scene.agent([scene.nginx.base + "/busy", scene.nginx.base + "/broken"])
        await #expect(throws: UpdateAgentFault.self) { try await onOwnThread { try agent.check() } }
        await #expect(throws: UpdateAgentFault.self) { try await onOwnThread { try agent.check() } }
        let asked = try scene.nginx.requests()
        #expect(asked.filter { $0.hasPrefix("/busy/") }.count == 1)
        #expect(asked.filter { $0.hasPrefix("/broken/") }.count > 2)
    }

    @Test("a password with a slash in it is refused, for it would be shown as a part of the path")
    func oddCredentials() throws {
        for (address, isPlain) in [
            ("http://user:p%2Fss@host:80/r", true), ("http://[::1]:80", true), ("http://[::1]", true),
            ("http://host", true),
            ("http://user:p/ss@host:3128", false), ("http://host:port/", false), ("http://:80", false),

        ] {
            let directory = try TemporaryDirectory()
            let overlay = directory.path.appending("etc/ballast")
            try overlay.makeDirectories()
            let image = directory.path.appending("usr/lib/ballast")
            try image.makeDirectories()
            try image.appending("agent.json").replaceContents(
                with: """
                    {"format": 1, "product": "x", "architecture": "amd64", "channel": "stable", "reboot": "manual",
                     "poll": {"interval_seconds": 1, "jitter_seconds": 0}, "boot": {"tries": 1}}
                    """)
            let document: JSONValue = ["repository": .string(address), "transfer": ["proxy": .string(address)]]
            try overlay.appending("agent.json").replaceContents(with: document.text())
            let loaded = try AgentSettings.load(HostPaths(prefix: directory.path))
            #expect((loaded.problem == nil) == isPlain, "\(address): \(loaded.problem ?? "")")
            #expect(loaded.settings.mirrors.isEmpty == !isPlain)
            #expect((loaded.settings.transfer.proxy == nil) == !isPlain)
        }
    }

    @Test("a server of which every third transfer breaks brings an update all the same")
    func third() async throws {
        let scene = try await Scene()
        let server = try LyingServer(serving: scene.repository.path)
        #expect(try await scene.update([server.base + "/third"]).version == "1.1")
        #expect(scene.pauses.withLock { !$0.isEmpty })
        try FaultCatalogue.note(
            .network, "every third transfer breaks", says: "",
            then: "each is gone on with after a pause; the update succeeds")
        withExtendedLifetime(server) {}
    }

    @Test("a server that wants to know who asks gets the host's certificate, and has to be signed by who is trusted")
    func certificates() async throws {
        let scene = try await Scene()
        let address = "https://127.0.0.1:\(scene.nginx.tlsPort)"
        func file(_ name: String) -> JSONValue { .string(scene.nginx.directory.appending(name).string) }
        let stranger = try await scene.failure([address])
        #expect(stranger.description.contains("no trustworthy TLS connection"), "\(stranger)")
        let other = try await scene.failure([address], ["ca_certificates": file("other.pem")])
        #expect(other.description.contains("no trustworthy TLS connection"), "\(other)")
        let unknown = try await scene.failure([address], ["ca_certificates": file("ca.pem")])
        #expect(unknown.description.contains("HTTP status 400"), "\(unknown)")
        let half = try await scene.failure(
            [address], ["ca_certificates": file("ca.pem"), "client_certificate": file("client.pem")])
        #expect(half.code == .invalid && half.message.contains("one is missing"), "\(half)")
        let missing = try await scene.failure([address], ["ca_certificates": "/nowhere/ca.pem"])
        #expect(missing.place == .path("/nowhere/ca.pem"), "\(missing)")
        for (what, fault) in [
            ("an unknown authority has signed the server's certificate", stranger),
            ("the server wants a client's certificate, and there is none", unknown),
            ("the client's key is not named", half), ("the authorities' file is not there", missing),
        ] { try FaultCatalogue.note(.network, what, says: "\(fault)", then: Self.nothing) }
        let all: [String: JSONValue] = [
            "ca_certificates": file("ca.pem"), "client_certificate": file("client.pem"),
            "client_key": file("client.key"),
        ]
        #expect(try await scene.update([address], all).version == "1.1")
    }

    @Test("a proxy is used as the settings say")
    func proxies() async throws {
        let scene = try await Scene()
        let proxy = try Tinyproxy(in: scene.directory)
        let address = scene.nginx.base + "/plain"
        func check(_ transfer: [String: JSONValue]) async throws -> Int {
            let before = try proxy.count()
            let agent = try scene.agent([address], transfer)
            #expect(try await onOwnThread { try agent.check() }.available == "1.1")
            return try proxy.count() - before
        }
        #expect(try await check(["proxy": .string(proxy.address)]) > 0)
        #expect(try await check(["proxy": .string(proxy.address), "no_proxy": ["127.0.0.1"]]) == 0)
        #expect(try await check(["proxy": "none"]) == 0)
        let dead = try scene.agent([address], ["proxy": "http://127.0.0.1:9"])
        let fault = try await #require(throws: UpdateAgentFault.self) { try await onOwnThread { try dead.check() } }
        #expect(fault.description.contains("no connection"), "\(fault)")
        withExtendedLifetime(proxy) {}
    }

    @Test("without a proxy in the settings, the environment's is used, and not for the hosts that it excepts")
    func environmentsProxy() async {
        // In a process of its own: the environment belongs to all tests of a process, and none may read it while it changes.
        await #expect(processExitsWith: .success) {
            let scene = try await Scene()
            let proxy = try Tinyproxy(in: scene.directory)
            let settings = try scene.host.settings { $0["repository"] = .string(scene.nginx.base + "/plain") }
            func check() async throws -> Int {
                let before = try proxy.count()
                let agent = try scene.agent(settings)
                #expect(try await onOwnThread { try agent.check() }.available == "1.1")
                return try proxy.count() - before
            }
            for name in ["https_proxy", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"] { unsetenv(name) }
            setenv("http_proxy", proxy.address, 1)
            #expect(try await check() > 0)
            setenv("no_proxy", "example.org,127.0.0.1", 1)
            #expect(try await check() == 0)
            withExtendedLifetime(proxy) {}
        }
    }

    @Test("no more is fetched in a second than the settings allow")
    func bandwidth() async throws {
        let scene = try await Scene()
        let start = ContinuousClock.now
        let result = try await scene.update([scene.nginx.base + "/plain"], ["bytes_per_second": 400_000])
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        // A slow machine only takes longer. libcurl lets the first second's worth through at once.
        #expect(Double(result.bytesFetched) / seconds < 800_000)
    }

    @Test("a version with '^' and '~' is asked for by a name that no server reads otherwise")
    func encoded() async throws {
        let scene = try await Scene(publishing: [try TestImage(version: "1.1^2~rc1", blocks: 64)])
        #expect(try await scene.update([scene.nginx.base + "/plain"]).version == "1.1^2~rc1")
        let asked = try scene.nginx.requests().filter { $0.contains("/targets/") }
        #expect(asked.allSatisfy { $0.contains("1.1%5E2~rc1") } && !asked.isEmpty, "\(asked)")
    }

    @Test("a user and password in an address are shown to nobody, and used")
    func credentials() async throws {
        let scene = try await Scene()
        let address = scene.nginx.base.replacing("http://", with: "http://user:secret@") + "/nothing"
        let agent = try scene.agent([address])
        let fault = try await #require(throws: UpdateAgentFault.self) {
            try await onOwnThread { try agent.check() }
        }
        let status = try agent.status()
        for text in [fault.description, status.json.text(), status.text, "\(try agent.history())"] {
            #expect(!text.contains("secret"), "\(text)")
        }
    }

    @Test("attempts after an outage are spread, longer apart each time, and not before a server wants them")
    func schedule() {
        var random = SystemRandomNumberGenerator()
        for failures in 1...40 {
            for retryAfter: Int64? in [nil, 7200] {
                let step: Int64 = min(3600, 30 << Int64(min(failures - 1, 16)))
                let pauses = (0..<2000).map { _ in
                    Agent.pause(after: failures, interval: 3600, retryAfter: retryAfter) {
                        Int64.random(in: 0...$0, using: &random)
                    }
                }
                let least = retryAfter ?? step / 2
                #expect(pauses.allSatisfy { $0 >= least && $0 <= max(step * 3 / 2, 7200 + 300) })
                // Of two thousand hosts no tenth of the time has more than a fifth.
                let width: Int64 = max((retryAfter == nil ? step : 300) / 10, 1)
                let most = Dictionary(grouping: pauses) { $0 / width }.values.map(\.count).max() ?? 0
                #expect(most < 500, "\(failures): \(most)")
            }
        }
    }
}

extension Agent {
    /// What the agent is doing.
    fileprivate var phase: String { (try? status().phase.name) ?? "" }
}
