/// What has to be started anew for what waits to take effect. Pure: it is decided from facts and does nothing.
public enum RestartPlan: Sendable, Hashable {
    /// Nothing.
    case none
    /// These units, while the system goes on.
    case units([String])
    /// The whole machine, through its firmware and boot loader, into this version.
    ///
    /// The cheaper ways, a new user space under the same kernel (`soft`) and a new kernel without the firmware (`kexec`), would stand
    /// between this and ``units(_:)``.
    case full(version: String)

    /// The cheapest that is enough.
    ///
    /// - Parameters:
    ///   - running: the version that runs.
    ///   - next: the version that the next boot brings.
    ///   - changedUnits: the units whose settings are not what they were when they were started.
    static func cheapest(running: String, next: String, changedUnits: [String]) -> RestartPlan {
        if next != running { return .full(version: next) }
        return changedUnits.isEmpty ? .none : .units(changedUnits)
    }

    /// Its name: none, units or full.
    public var name: String {
        switch self {
        case .none: "none"
        case .units: "units"
        case .full: "full"
        }
    }
}
