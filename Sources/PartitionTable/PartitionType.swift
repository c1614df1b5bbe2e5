/// The partition types that a Ballast disk has (UAPI Group Specification 2, Discoverable Partitions).
public enum PartitionType: String, Sendable, Hashable, CaseIterable {
    case efiSystem = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
    case rootX64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
    case rootVerityX64 = "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5"
    case rootArm64 = "B921B045-1DF0-41C3-AF44-4C6F280D3FAE"
    case rootVerityArm64 = "DF3300CE-D69F-4C92-978C-9BFB0F38D820"
    case variableData = "4D21B016-B534-45C2-A9FB-5C16E091FD2D"

    /// The type of a root partition for a Debian architecture, or nil where none is defined here.
    public static func root(architecture: String) -> PartitionType? {
        switch architecture {
        case "amd64": .rootX64
        case "arm64": .rootArm64
        default: nil
        }
    }

    /// The type of a root partition's hash device for a Debian architecture.
    public static func rootVerity(architecture: String) -> PartitionType? {
        switch architecture {
        case "amd64": .rootVerityX64
        case "arm64": .rootVerityArm64
        default: nil
        }
    }
}
