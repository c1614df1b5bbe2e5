package import BootControl

/// What a boot says of the version that was to be tried.
package enum BootReconciliation: Sendable, Hashable {
    /// Nothing was to be tried.
    case nothing
    /// The version was made ready in this very boot and waits for a reboot.
    case waiting
    /// The version runs; whether it is good is not known yet.
    case proving
    /// The version was tried, and the host came back without it.
    case failed
    /// Another version runs, and the new one has tries left: somebody chose at the boot menu, or the host was reset before
    /// the loader counted.
    case untried
    /// Power was cut before the version became bootable.
    case interrupted
    /// The version had proved itself before, and somebody booted the other one.
    case superseded

    /// The decision table.
    ///
    /// - Parameters:
    ///   - entry: what the counter of the pending version's entry says; nil where it has none.
    ///   - hasFailureReport: whether the version's own health checks said why they failed.
    package static func decide(
        pending: PendingActivation?, running: String, bootIdentifier: String, entry: BootEntryName.Standing?,
        hasFailureReport: Bool
    ) -> BootReconciliation {
        guard let pending else { return .nothing }
        if pending.version == running { return .proving }
        if pending.bootIdentifier == bootIdentifier { return .waiting }
        switch entry {
        // The loader counts each try, so what it never counted it never started.
        case nil, .bad(done: 0): return .interrupted
        case .good: return .superseded
        case .bad: return .failed
        case .trying: return hasFailureReport ? .failed : .untried
        }
    }
}
