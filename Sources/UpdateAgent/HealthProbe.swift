import Command
import Fault
import Fetching
import FileIO
import Glibc
import SystemPackage
import Transfer

/// Looks once whether a health check holds.
struct HealthProbe {
    /// How long one look may take, in seconds.
    let patience: Int
    /// Who speaks to the network.
    let fetcher: any Fetcher

    /// Why a check does not hold.
    struct Problem {
        var text: String
        /// Whether it could not judge.
        var isUndecided = false
    }

    /// The status of a command that could not judge: EX_TEMPFAIL of sysexits.h.
    private static let undecided = 75

    /// - Returns: why it does not hold, or nil where it does.
    func problem(_ probe: HealthCheck.Probe) -> Problem? {
        if case .command(let program, let arguments) = probe { return commandProblem(Command(program, arguments)) }
        let text: String? =
            switch probe {
            case .command: nil
            case .unit(let unit): unitProblem(unit)
            case .http(let address): httpProblem(address)
            case .tcp(let host, let port): fetcher.connectionProblem(host: host, port: port, seconds: patience)
            case .containerd: containerdProblem()
            }
        return text.map { Problem(text: $0) }
    }

    private func unitProblem(_ unit: String) -> String? {
        do throws(CommandFault) {
            guard
                let outcome = try Command("systemctl", ["is-active", unit]).outcome(withinSeconds: patience)
            else { return "systemd did not answer" }
            if outcome.status == 0 { return nil }
            return "the unit \(unit) is \(outcome.outputText.split(separator: "\n").first ?? "not active")"
        } catch {
            return "\(error)"
        }
    }

    private func commandProblem(_ command: Command) -> Problem? {
        do throws(CommandFault) {
            guard let outcome = try command.outcome(withinSeconds: patience) else {
                return Problem(text: "'\(command)' did not end within \(patience) s")
            }
            if outcome.status == 0 { return nil }
            let last = (outcome.errorText.isEmpty ? outcome.outputText : outcome.errorText).split(separator: "\n").last
            return Problem(
                text: "'\(command)' ended with status \(outcome.status)"
                    + (last.map { ": \($0.excerpt(limit: 200))" } ?? ""),
                isUndecided: outcome.status == Self.undecided)
        } catch {
            return Problem(text: "\(error)")
        }
    }

    private func httpProblem(_ address: String) -> String? {
        var options = HTTPOptions()
        options.proxy = .none
        options.patience.connectSeconds = min(patience, 10)
        options.patience.slowSeconds = min(patience, 10)
        options.patience.totalSeconds = patience
        var request = HTTPRequest(address)
        request.limit = 1 << 20
        let answer = fetcher.fetch(
            FetchRequest(request, form: .dropped, options: options), isCancelled: { false }, receive: { _, _ in })
        switch answer.failure?.code {
        // The status counts, also where it comes with a page that is too long or of another form.
        case nil, .notFound, .http, .unavailable, .tooLarge, .wrongSize, .digestMismatch, .refused: break
        case .timeout, .cut, .cancelled, .receiver, .file, .unreachable, .tls:
            if let failure = answer.failure { return "\(failure)" }
        }
        guard answer.status != 0 else {
            return answer.failure.map { "\($0)" } ?? "\(WebAddress.redacted(address)) answers without a status"
        }
        return 200...299 ~= answer.status
            ? nil : "\(WebAddress.redacted(address)) answers with HTTP status \(answer.status)"
    }

    /// With containerd's own client where there is one; otherwise the way every gRPC connection begins.
    private func containerdProblem() -> String? {
        let client = FilePath("/usr/bin/ctr")
        guard !client.exists else {
            return commandProblem(Command(client.string, ["--timeout", "\(patience)s", "version"]))?.text
        }
        return ContainerdProbe.problem(http2Socket: "/run/containerd/containerd.sock", seconds: patience)
    }
}
