import Control
import Fault
import JSON
import Synchronization
import Testing

@Suite("Streams of answers")
struct VarlinkStreamTests {
    static let watch = "{\"method\":\"io.ballast.Update.Watch\",\"more\":true}"
    static let update = "{\"method\":\"io.ballast.Update.Update\",\"more\":true}"

    @Test("a watcher gets every change, and leaves no observer behind when it goes")
    func watch() async throws {
        let agent = FakeAgent()
        var observation = agent.observation.makeAsyncIterator()
        let host = try ControlHost(agent)
        let client = try RawClient(host.path)
        client.send(Self.watch)
        #expect(await observation.next() == true)
        for number in 0..<20 {
            agent.change(to: ["version": .integer(Int64(number))])
        }
        #expect(try client.receive()?["parameters"]?["status"] == FakeAgent.status)
        for number in 0..<20 {
            let answer = try #require(try client.receive())
            #expect(answer["parameters"]?["status"]?["version"] == .integer(Int64(number)))
            #expect(answer["continues"] == true)
        }
        client.close()
        #expect(await observation.next() == false)
    }

    @Test("a watcher that has ended only its own side still gets changes")
    func halfClosed() async throws {
        let agent = FakeAgent()
        var observation = agent.observation.makeAsyncIterator()
        let host = try ControlHost(agent)
        let client = try RawClient(host.path)
        client.send(Self.watch)
        client.endWriting()
        #expect(await observation.next() == true)
        #expect(try client.receive()?["continues"] == true)
        agent.change(to: ["version": "2"])
        #expect(try client.receive()?["parameters"]?["status"]?["version"] == "2")
    }

    @Test("a watcher that does not read is let go, and holds up neither the agent nor others")
    func slowWatcher() async throws {
        var limits = ServerLimits()
        limits.patience = .milliseconds(100)
        let agent = FakeAgent()
        var observation = agent.observation.makeAsyncIterator()
        let host = try ControlHost(agent, limits: limits)
        let client = try RawClient(host.path)
        client.send(Self.watch)
        #expect(await observation.next() == true)
        let large = JSONValue.object(["text": .string(String(repeating: "x", count: 100_000))])
        for _ in 0..<100 { agent.change(to: large) }
        #expect(try RawClient(host.path).call("io.ballast.Update.Status")?["error"] == nil)
        #expect(await observation.next() == false)
    }

    /// The way to show progress that a call was given, kept beyond its end.
    final class LateProgress: Sendable {
        let show = Mutex<(@Sendable (JSONValue) -> Void)?>(nil)
    }

    @Test("an update says how far it is before it says what it came to, and nothing after that")
    func progress() throws {
        let late = LateProgress()
        let host = try ControlHost(
            FakeAgent { method, progress in
                if method == .update {
                    for done in [Int64(0), 50, 100] { progress(FakeAgent.progress(done, of: 100)) }
                    late.show.withLock { $0 = progress }
                }
                return FakeAgent.document(for: method)
            })
        let client = try RawClient(host.path)
        client.send(Self.update)
        for done in [Int64(0), 50, 100] {
            let answer = try #require(try client.receive())
            #expect(answer["continues"] == true)
            #expect(answer["parameters"]?["progress"]?["bytes_done"] == .integer(done))
        }
        let last = try #require(try client.receive())
        #expect(last["continues"] == nil)
        #expect(last["parameters"]?["result"]?["outcome"] == "staged")
        late.show.withLock { $0 }?(FakeAgent.progress(100, of: 100))
        #expect(try client.call("io.ballast.Update.Status")?["parameters"]?["status"] != nil)
        client.send("{\"method\":\"io.ballast.Update.Update\"}")
        #expect(try client.receive()?["parameters"]?["result"] != nil, "without 'more' there is one answer")
    }

    @Test("an update goes on when its caller leaves, however much progress it shows nobody")
    func callerLeaves() async throws {
        let (ends, end) = AsyncStream.makeStream(of: Int.self)
        let (begins, begin) = AsyncStream.makeStream(of: Void.self)
        let host = try ControlHost(
            FakeAgent { method, progress in
                progress(FakeAgent.progress(0, of: 1000))
                begin.yield()
                for done in 1...1000 { progress(FakeAgent.progress(Int64(done), of: 1000)) }
                end.yield(1000)
                return FakeAgent.document(for: method)
            })
        let client = try RawClient(host.path)
        client.send(Self.update)
        var iterator = begins.makeAsyncIterator()
        await iterator.next()
        client.close()
        var last = ends.makeAsyncIterator()
        #expect(await last.next() == 1000)
    }

    @Test("progress that nobody reads never makes the update wait")
    func unreadProgress() async throws {
        let (ends, end) = AsyncStream.makeStream(of: Void.self)
        let host = try ControlHost(
            FakeAgent { method, progress in
                for done in 1...50_000 { progress(FakeAgent.progress(Int64(done), of: 50_000)) }
                end.yield()
                return FakeAgent.document(for: method)
            })
        let client = try RawClient(host.path)
        client.send(Self.update)
        var iterator = ends.makeAsyncIterator()
        await iterator.next()
        // What came through is whole, and the last answer is among it.
        var answers = 0
        while let answer = try client.receive() {
            answers += 1
            if answer["continues"] == nil {
                #expect(answer["parameters"]?["result"] != nil)
                break
            }
        }
        #expect(answers > 1 && answers < 50_000)
    }
}
