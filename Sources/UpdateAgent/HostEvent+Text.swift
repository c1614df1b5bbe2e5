import Terminal

extension HostEvent {
    /// What happened, as a sentence without its cause.
    public var detail: String { ownDetail ?? givenDetail ?? kind.rawValue }

    /// The sentence, as far as this agent knows what the event is about.
    private var ownDetail: String? {
        // Agents that named no boot wrote sentences that say what no member does.
        guard !bootIdentifier.isEmpty || givenDetail == nil else { return nil }
        let other = otherVersion ?? "the other version"
        return switch kind {
        case .staged: "\(version) is written to the other slot and starts with the next reboot"
        case .activated: "the other slot holds \(version) already; it starts with the next reboot"
        case .proved: "it has passed its health checks"
        case .confirmed: "its health checks held until the end of its probation"
        case .rolledBack: rolledBackDetail(other)
        case .rollback: "back to \(other); \(version) is denied"
        case .rollbackFailed: "the rollback to \(version) failed; \(other) stays and is allowed again"
        case .rollbackWithdrawn: "the rollback to it is given up, and \(other) stays"
        case .withdrawn: "it waited for its first boot and does not get it"
        case .interrupted: "the update was interrupted; the next one goes on from there"
        case .denied: "it is not taken from now on"
        case .allowed: "it may be taken again"
        case .pinned: "this host takes \(version) and no other"
        case .unpinned: "this host takes the newest again"
        case .held: "\(step ?? "a step") holds the restart back"
        case .drained: "drain '\(step ?? "")' is done"
        case .undrained: "drain '\(step ?? "")' is undone"
        case .restarting: restart == "full" ? "the host restarts into \(version)" : "the agent starts anew"
        case .served: "all health checks hold again, so many seconds after the last time before the restart"
        case .unhealthy: "it is not healthy, and stays: no other version would be better"
        case .failed: failedDetail
        case .stateDamaged: "the agent's state was damaged and is put aside"
        default: nil
        }
    }

    private func rolledBackDetail(_ other: String) -> String {
        var text =
            tries.map { "\(version) did not prove itself in \($0) tries; back on \(other)" } ?? "back to \(other)"
        text += retryTime.map { "; it is tried again at \($0)" } ?? "; it is denied"
        return text
    }

    private var failedDetail: String? {
        switch task {
        case .check?: "the repository could not be asked"
        case .update?: "the update to \(version) did not succeed"
        case .rollback?: "the host could not be made to go back to \(version)"
        case .drain?: "drain '\(step ?? "")' did not succeed"
        case .undrain?: "drain '\(step ?? "")' could not be undone"
        case .reboot?: "the host could not be rebooted"
        default: nil
        }
    }

    /// One line.
    public var text: String {
        var text = "\(time)  \(kind.rawValue)  \(version)  \(detail)"
        if let cause { text += ": \(cause)" }
        var figures: [String] = []
        if let bytes { figures.append(Progress.bytes(bytes)) }
        if let seconds { figures.append("\(seconds) s") }
        return figures.isEmpty ? text : text + " (\(figures.joined(separator: ", ")))"
    }
}
