import Manifest
import PartitionTable

/// What the names of files and the types of partitions have of the architecture.
extension Manifest.Architecture {
    /// As the UEFI specification has it in file names (section 3.5.1.1), in lower case.
    var efiName: String {
        switch self {
        case .amd64: "x64"
        case .arm64: "aa64"
        }
    }

    /// The directory of the libraries: Debian's multiarch tuple.
    var libraryDirectory: String {
        switch self {
        case .amd64: "usr/lib/x86_64-linux-gnu"
        case .arm64: "usr/lib/aarch64-linux-gnu"
        }
    }

    /// systemd's stub for a unified kernel.
    var stubPath: String { "usr/lib/systemd/boot/efi/linux\(efiName).efi.stub" }
    /// systemd-boot's file in the image.
    var loaderPath: String { "usr/lib/systemd/boot/efi/\(loaderName)" }
    /// The name of systemd-boot's file on the ESP.
    var loaderName: String { "systemd-boot\(efiName).efi" }
    /// What firmware runs where no entry tells it what to.
    var fallbackLoaderName: String { "BOOT\(efiName.uppercased()).EFI" }
}
