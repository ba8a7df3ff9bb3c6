# rogue.pl INTERFACE DESTINATION_MAC TAG SOURCE4 TARGET4 PORT TOKEN
# Send one raw Ethernet frame with an IPv4 UDP datagram in it, whatever the kernel's
# routes and neighbours say. TAG is "plain" or "vlan0".
use strict;
use Socket;
my ($device, $to, $tag, $source, $target, $port, $token) = @ARGV;

sub checksum {
    my ($data) = @_;
    my $sum = 0;
    $sum += $_ for unpack "n*", length($data) % 2 ? "$data\0" : $data;
    $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16;
    return ~$sum & 0xffff;
}

sub mac { return pack "H12", $_[0] =~ s/://gr }

open my $file, "<", "/sys/class/net/$device/address" or die;
my $from = mac(<$file> =~ s/\s//gr);
open $file, "<", "/sys/class/net/$device/ifindex" or die;
my $index = <$file> + 0;
my $udp = pack("nnnn", 40000, $port, 8 + length $token, 0) . $token;
my $head = pack "CCnnnCCna4a4", 0x45, 0, 20 + length $udp, 1, 0, 64, 17, 0,
    inet_aton($source), inet_aton($target);
substr($head, 10, 2) = pack "n", checksum($head);
my $vlan = $tag eq "vlan0" ? pack("nn", 0x8100, 0) : "";
my $frame = mac($to) . $from . $vlan . pack("n", 0x0800) . $head . $udp;
socket my $socket, 17, SOCK_RAW, 0 or die "socket: $!";
my $address = pack "SnlSCCa8", 17, 0x0800, $index, 1, 0, 6, mac($to);
send $socket, $frame, 0, $address or die "send: $!";
