<?php
// What the module uses of WordPress and WooCommerce: hooks, and an order's metadata as webhooks name it.
// php woocommerce.php MODULE HOOK
class WC_Order {
  public array $meta_data = [];
  public function update_meta_data($key, $value) {
    $this->meta_data = [...array_filter($this->meta_data, fn ($one) => $one['key'] !== $key), ['key' => $key, 'value' => $value]];
  }
}
$hooks = [];
function add_action($name, $callback, $priority = 10, $accepted_args = 1) { global $hooks; $hooks[$name][] = [$callback, $accepted_args]; }
require $argv[1];
$order = new WC_Order;
foreach ([getenv('TOKEN'), null, "not a\ntoken", getenv('TOKEN')] as $header) {
  if ($header === null) unset($_SERVER['HTTP_X_CLEW_REFERRAL']); else $_SERVER['HTTP_X_CLEW_REFERRAL'] = $header;
  foreach ($hooks[$argv[2]] as [$callback, $count]) $callback(...array_slice([$order, ['billing_email' => 'bob@mail.example']], 0, $count));
}
echo json_encode($order->meta_data);
