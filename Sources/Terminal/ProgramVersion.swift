/// The version of this source tree, by the UAPI version format: what every program made from it calls itself, and what a
/// release's `minimum_agent` is compared with.
public enum ProgramVersion {
    /// `MAJOR.MINOR.PATCH`.
    public static let current = "0.1.0"
}
